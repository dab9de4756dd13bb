// SPDX-License-Identifier: GPL-2.0-or-later
// SocketQmp: QMP over a UNIX socket of its own (-qmp unix:PATH,server=on,wait=off).
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "common/line_buffer.h"
#include "common/loop.h"
#include "qmp/qmp.h"

namespace pvsched {

struct SocketQmpOptions {
  unsigned deadline_ms = 5000;  ///< for the greeting and for each command
  std::size_t max_line = std::size_t{4} << 20;  ///< longest line taken from QEMU
  std::size_t max_queue = 256;  ///< commands waiting at most
};

/// One command is under way at a time, as QEMU keeps only the last descriptors it received. What arrives is not
/// trusted: a line too long, no JSON, a reply without a question, or none in time ends the connection.
class SocketQmp final : public Qmp {
 public:
  /// Connects; the greeting is awaited in the loop, and commands given before it are kept until then.
  /// Errors: no such socket, nobody listening, EAGAIN when QEMU has another client waiting already.
  static Result<std::unique_ptr<SocketQmp>> open(const std::string& path, SocketQmpOptions options = {});
  /// Over a socket that is already connected.
  static std::unique_ptr<SocketQmp> adopt(Fd socket, std::string name, SocketQmpOptions options = {});

  void execute(const std::string& command, Json arguments, std::vector<Fd> fds, Callback done) override;
  bool healthy() const override { return static_cast<bool>(socket_); }
  pid_t peer() const override { return peer_; }
  std::string transport() const override { return "socket " + name_; }

 private:
  struct Command {
    std::string name;
    std::string id;
    std::string text;
    std::vector<Fd> fds;
    Callback done;
  };
  enum class Stage { kGreeting, kNegotiating, kReady };

  SocketQmp(Fd socket, std::string name, SocketQmpOptions options);
  void send_next();
  bool flush();
  bool readable();
  void handle(const std::string& line);
  void handle_reply(const Json& reply);
  void fail(const Error& error);
  void arm_deadline(const std::string& what);

  Fd socket_;
  std::string name_;
  SocketQmpOptions options_;
  pid_t peer_ = 0;
  Stage stage_ = Stage::kGreeting;
  LineBuffer input_;
  std::deque<Command> queue_;
  std::optional<Command> current_;
  std::string output_;
  unsigned next_id_ = 1;
  Source read_source_;
  Source write_source_;
  Source deadline_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  ///< expires with this object, also inside a callback
};

}  // namespace pvsched
