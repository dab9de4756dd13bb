// SPDX-License-Identifier: GPL-2.0-or-later
// LibvirtHost: the connection to libvirt. It opens, listens, and opens again when libvirtd was away.
//
// Blocking calls run on worker threads; libvirt's events arrive on the main loop, by virEventRegisterDefaultImpl.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "common/loop.h"
#include "libvirt/handles.h"
#include "libvirt/host.h"
#include "libvirt/passthrough_qmp.h"

namespace pvsched {

struct LibvirtOptions {
  std::string uri = "qemu:///system";
  unsigned first_retry_ms = 1000;
  unsigned last_retry_ms = 30000;
  int keepalive_s = 30;  ///< a libvirtd that hangs is found out after three of these
};

class LibvirtHost final : public Host {
 public:
  struct Handlers {
    std::function<void()> connected;
    /// Told once for each stretch without a connection, with the reason.
    std::function<void(const Error&)> disconnected;
    std::function<void(const std::string& uuid, DomainEvent event)> event;
  };

  LibvirtHost(LibvirtOptions options, Handlers handlers);
  ~LibvirtHost() override;

  /// Opens the connection, in the background.
  void start();
  /// Something said that libvirtd lives: do not wait for the next try.
  void hurry();

  bool connected() const override { return connection_ != nullptr; }
  std::string trouble() const override { return trouble_; }
  void domain(const std::string& uuid, std::function<void(Result<DomainInfo>)> done) override;
  void running(std::function<void(Result<std::vector<DomainInfo>>)> done) override;
  Result<std::unique_ptr<Qmp>> monitor(const std::string& uuid) override;

 private:
  void opened(const Result<Connection>& result);
  void lost(const Error& error);
  void retry_later();

  LibvirtOptions options_;
  Handlers handlers_;
  Connection connection_;
  std::string trouble_ = "not yet connected to libvirt";
  bool opening_ = false;
  bool told_ = false;  ///< the present stretch without a connection was reported
  unsigned retry_ms_;
  Source retry_;
  Worker worker_;  ///< one thread: calls in order
  std::shared_ptr<Worker> monitor_workers_;  ///< QMP: a domain that stalls holds one of them
  std::map<std::string, std::shared_ptr<MonitorLane>> lanes_;
  std::shared_ptr<LibvirtHost*> self_;  ///< expires with this object
};

}  // namespace pvsched
