// SPDX-License-Identifier: GPL-2.0-or-later
#include "hook_harness.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iterator>

#include "common/fd.h"

// Last: it redefines new.
#include <CppUTest/TestHarness.h>

using pvsched::Fd;
namespace fs = std::filesystem;

namespace {

struct Pipe {
  Fd read_end;
  Fd write_end;
  Pipe() {
    int fds[2] = {-1, -1};
    if (pipe2(fds, O_CLOEXEC) != 0) FAIL("pipe2");
    read_end.reset(fds[0]);
    write_end.reset(fds[1]);
  }
};

void set_nonblocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

Fd listen_at(const std::string& path, int backlog) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  Fd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) FAIL("bind");
  if (listen(listener.get(), backlog) != 0) FAIL("listen");
  return listener;
}

/// Connections that nobody accepts, until no further fits.
std::vector<Fd> fill_queue(const std::string& path) {
  std::vector<Fd> waiting;
  for (;;) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    Fd client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return waiting;
    waiting.push_back(std::move(client));
  }
}

/// The child's side of fork: only what is safe there.
[[noreturn]] void exec_child(const std::vector<std::string>& arguments, int in, int out, int err, bool block_alarm,
                             const std::string& preload) {
  dup2(in, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  if (block_alarm) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    sigprocmask(SIG_BLOCK, &set, nullptr);
  }
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  if (!preload.empty()) {
    setenv("LD_PRELOAD", preload.c_str(), 1);
    setenv("ASAN_OPTIONS", "verify_asan_link_order=0", 1);
  }
  execv(argv[0], argv.data());
  _exit(127);
}

/// Appends what is there; closes the descriptor at its end.
void drain(Fd& fd, std::string& text) {
  char buffer[65536];
  for (;;) {
    ssize_t count = read(fd.get(), buffer, sizeof(buffer));
    if (count > 0) {
      text.append(buffer, static_cast<std::size_t>(count));
    } else {
      if (count == 0 || (errno != EAGAIN && errno != EINTR)) fd.reset();
      return;
    }
  }
}

}  // namespace

std::string environment(const char* name) {
  const char* value = getenv(name);  // NOLINT: one thread
  if (value == nullptr || !fs::exists(value)) FAIL((std::string(name) + " must be set to a built file").c_str());
  return value;
}

TemporaryFolder::TemporaryFolder() {
  char path[] = "/tmp/pvsched-hook-test-XXXXXX";
  if (mkdtemp(path) == nullptr) FAIL("mkdtemp");
  path_ = path;
}

TemporaryFolder::~TemporaryFolder() { fs::remove_all(path_); }

Outcome run_command(const std::vector<std::string>& arguments, const Setup& setup, const std::string& socket_path) {
  Outcome outcome;
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  signal(SIGPIPE, SIG_IGN);  // NOLINT: the hook may not read all of its stdin
  Fd listener;
  std::vector<Fd> waiting;
  if (setup.daemon != Daemon::Absent) listener = listen_at(socket_path, setup.daemon == Daemon::Busy ? 0 : 8);
  if (setup.daemon == Daemon::Busy) waiting = fill_queue(socket_path);

  Pipe in;
  Pipe out;
  Pipe err;
  if (!setup.read_stderr) {
    set_nonblocking(err.write_end.get());
    const std::string filler(4096, '.');
    while (write(err.write_end.get(), filler.data(), filler.size()) > 0) {
    }
    fcntl(err.write_end.get(), F_SETFL, fcntl(err.write_end.get(), F_GETFL) & ~O_NONBLOCK);
  }
  pid_t child = fork();
  if (child == 0) {
    exec_child(arguments, in.read_end.get(), out.write_end.get(), err.write_end.get(), setup.block_alarm,
               setup.preload);
  }
  in.read_end.reset();
  out.write_end.reset();
  err.write_end.reset();
  set_nonblocking(in.write_end.get());
  set_nonblocking(out.read_end.get());
  set_nonblocking(err.read_end.get());

  Fd connection;
  std::size_t written = 0;
  std::size_t answered = 0;
  bool done = false;
  auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);  // a hang, not a measurement
  while (std::chrono::steady_clock::now() < limit) {
    if (in.write_end && written == setup.xml.size() && setup.close_stdin) in.write_end.reset();
    bool feeding = in.write_end && written < setup.xml.size();
    bool accepting = listener && setup.daemon != Daemon::Busy;
    bool reading = connection && setup.daemon != Daemon::Deaf;
    if (!done) {
      int status = 0;
      done = waitpid(child, &status, WNOHANG) == child;
      if (done) outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
    }
    // The ends of stdout and stderr come only when nobody holds them any more: libvirt waits for that.
    if (done && !out.read_end && (!err.read_end || !setup.read_stderr)) break;
    pollfd entries[] = {
        {.fd = feeding ? in.write_end.get() : -1, .events = POLLOUT, .revents = 0},
        {.fd = out.read_end.get(), .events = POLLIN, .revents = 0},
        {.fd = setup.read_stderr ? err.read_end.get() : -1, .events = POLLIN, .revents = 0},
        {.fd = accepting ? listener.get() : -1, .events = POLLIN, .revents = 0},
        {.fd = reading ? connection.get() : -1, .events = POLLIN, .revents = 0},
    };
    poll(entries, std::size(entries), 5);
    if (feeding && entries[0].revents != 0) {
      ssize_t count = write(in.write_end.get(), setup.xml.data() + written, setup.xml.size() - written);
      if (count > 0) written += static_cast<std::size_t>(count);
      if (count < 0 && errno == EPIPE) in.write_end.reset();
    }
    if (entries[1].revents != 0) drain(out.read_end, outcome.out);
    if (entries[2].revents != 0) drain(err.read_end, outcome.err);
    if (entries[3].revents != 0) {
      connection.reset(accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      outcome.connected = true;
      if (setup.daemon == Daemon::AnswersEarly) {
        send(connection.get(), setup.answer.data(), setup.answer.size(), MSG_NOSIGNAL);
      }
      if (setup.daemon == Daemon::ClosesAtOnce || setup.daemon == Daemon::AnswersEarly) connection.reset();
      continue;
    }
    if (!connection) continue;
    if (entries[4].revents != 0) drain(connection, outcome.request);
    bool asked = outcome.request.ends_with('\n');
    if (!connection || !asked) continue;
    if (setup.daemon == Daemon::Answers) {
      send(connection.get(), setup.answer.data(), setup.answer.size(), MSG_NOSIGNAL);
      connection.reset();
    } else if (setup.daemon == Daemon::AnswersInPieces && answered < setup.answer.size()) {
      send(connection.get(), &setup.answer[answered++], 1, MSG_NOSIGNAL);
    } else if (setup.daemon == Daemon::Floods) {
      const std::string flood(4096, 'x');
      send(connection.get(), flood.data(), flood.size(), MSG_NOSIGNAL);
    }
  }
  if (!done) {
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    FAIL("the hook does not end");
  }
  outcome.stray_children = waitpid(-1, nullptr, WNOHANG) != -1 || errno != ECHILD;
  return outcome;
}
