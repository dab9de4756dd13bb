// SPDX-License-Identifier: GPL-2.0-or-later
// PassthroughQmp: QMP through libvirt (virDomainQemuMonitorCommandWithFiles, libvirt 8.2 and later), which marks the
// domain with the taint "custom-monitor". libvirt blocks while QEMU does, so every command runs on a worker thread.
#pragma once

#include <deque>
#include <memory>
#include <string>

#include "common/loop.h"
#include "libvirt/handles.h"
#include "qmp/qmp.h"

namespace pvsched {

/// One domain's way through a connection. It outlives the PassthroughQmp that gave up waiting: until libvirt comes
/// back, no further thread is spent on that domain.
struct MonitorLane {
  Connection connection;
  std::string uuid;
  bool busy = false;  ///< main thread only
};

class PassthroughQmp final : public Qmp {
 public:
  PassthroughQmp(std::shared_ptr<MonitorLane> lane, std::shared_ptr<Worker> workers, unsigned deadline_ms = 10000);

  void execute(const std::string& command, Json arguments, std::vector<Fd> fds, Callback done) override;
  bool healthy() const override { return !failed_ && virConnectIsAlive(lane_->connection.get()) == 1; }
  std::string transport() const override { return "libvirt passthrough"; }

 private:
  struct Command {
    std::string name;
    std::string text;
    std::vector<Fd> fds;
    Callback done;
  };
  void send_next();
  void replied(const Result<std::string>& reply);
  void fail(const Error& error);

  std::shared_ptr<MonitorLane> lane_;
  std::shared_ptr<Worker> workers_;
  unsigned deadline_ms_;
  bool failed_ = false;
  std::deque<Command> queue_;  ///< the first is under way while `waiting_`
  bool waiting_ = false;
  Source deadline_;
  std::shared_ptr<PassthroughQmp*> self_;  ///< expires with this object
};

}  // namespace pvsched
