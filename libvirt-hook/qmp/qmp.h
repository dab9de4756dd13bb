// SPDX-License-Identifier: GPL-2.0-or-later
// Qmp: commands to one QEMU's monitor, whatever the way there. Asynchronous, on the main loop; never blocks.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "common/fd.h"
#include "common/json.h"
#include "common/result.h"

namespace pvsched {

/// The code of an Error that QEMU itself replied with: the connection is fine, the command was refused. Any other code
/// means that the connection is lost.
inline constexpr int kQmpRefused = EREMOTEIO;

class Qmp {
 public:
  using Callback = std::function<void(Result<Json>)>;
  using OnEvent = std::function<void(const std::string& name, const Json& data)>;
  using OnClosed = std::function<void(const Error&)>;

  virtual ~Qmp() = default;

  /// Sends a command, with descriptors for QEMU's `getfd`, and hands its "return" to `done`, once, or an error:
  /// kQmpRefused, ETIMEDOUT after the deadline, or what broke the connection. Letting the Qmp go drops callbacks
  /// uncalled. `done` may let the Qmp go.
  virtual void execute(const std::string& command, Json arguments, std::vector<Fd> fds, Callback done) = 0;

  /// False once the connection is lost: every later command fails.
  virtual bool healthy() const = 0;
  /// The process at the other end, where the way there tells; else 0.
  virtual pid_t peer() const { return 0; }
  /// "socket /run/x.sock" or "libvirt passthrough", for logs and status.
  virtual std::string transport() const = 0;

  void on_event(OnEvent fn) { on_event_ = std::move(fn); }
  void on_closed(OnClosed fn) { on_closed_ = std::move(fn); }

 protected:
  OnEvent on_event_;
  OnClosed on_closed_;
};

/// The "return" of a reply object. Errors: kQmpRefused with QEMU's own class and text, EPROTO for anything else.
Result<Json> qmp_result(const std::string& command, const Json& reply);

/// The line that asks for a command, with an id unless that is empty.
std::string qmp_request(const std::string& command, const Json& arguments, const std::string& id);

}  // namespace pvsched
