// SPDX-License-Identifier: GPL-2.0-or-later
// Runs a hook as libvirt does, against a pvschedd played by the test.
#pragma once

#include <string>
#include <vector>

/// A domain with the pvsched element.
inline const std::string kXml =
    "<domain><metadata><p:pvsched xmlns:p=\"https://pvsched.org/xmlns/libvirt/domain/1.0\"/></metadata></domain>\n";

enum class Daemon {
  Absent,  ///< no socket
  Answers,  ///< sends `answer` after the whole request, then closes
  AnswersEarly,  ///< sends `answer` and closes before it reads
  AnswersInPieces,  ///< sends `answer` byte by byte
  Silent,  ///< reads and says nothing
  Deaf,  ///< accepts and does not read
  Busy,  ///< its queue is full
  ClosesAtOnce,
  Floods,  ///< sends without end and without a newline
};

struct Setup {
  Daemon daemon = Daemon::Answers;
  std::string answer = "{\"ok\":true,\"warnings\":[]}\n";
  std::string operation = "prepare";
  std::string name = "web1";
  std::string xml = kXml;
  bool close_stdin = true;
  bool read_stderr = true;  ///< false: stderr is a pipe that is full
  bool block_alarm = false;  ///< SIGALRM is blocked when the hook starts
  std::string preload = "";
};

struct Outcome {
  int status = -1;  ///< exit code, or 1000 + signal
  std::string out;
  std::string err;
  std::string request;
  bool connected = false;
  bool stray_children = false;
};

/// Path of a built file, from an environment variable that the build system sets.
std::string environment(const char* name);

/// A folder that goes with the test.
class TemporaryFolder {
 public:
  TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// Runs the program to its end. One thread, one poll loop: it feeds stdin, reads stdout and stderr, and serves the
/// socket. Fails the test where the program hangs.
Outcome run_command(const std::vector<std::string>& arguments, const Setup& setup, const std::string& socket_path);
