// SPDX-License-Identifier: GPL-2.0-or-later
// App: the daemon's parts put together, from start to orderly stop.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/loop.h"
#include "daemon/config.h"
#include "daemon/control.h"
#include "daemon/sessions.h"
#include "libvirt/libvirt_host.h"
#include "sched/engine.h"

namespace pvsched {

class App {
 public:
  /// `reread` gives the configuration anew at SIGHUP.
  App(Config config, std::function<Result<Config>()> reread);
  ~App();

  /// Runs until SIGTERM or SIGINT. Errors: another instance runs, the engine or the socket cannot be had.
  Status run();

 private:
  Status prepare();
  void start_libvirt();
  Status reload();
  void stop();
  void watch();
  void tell_systemd();

  Config config_;
  std::function<Result<Config>()> reread_;
  Fd lock_;
  Fd host_lock_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<LibvirtHost> host_;
  std::unique_ptr<Sessions> sessions_;
  std::unique_ptr<ControlServer> control_;
  Source terminate_, interrupt_, hangup_, watchdog_, policy_watch_;
  std::string actuator_;  ///< the one that was told of last
  GMainLoop* loop_;
  bool stopping_ = false;
};

}  // namespace pvsched
