// SPDX-License-Identifier: GPL-2.0-or-later
// Host: what the daemon asks of the manager of domains. Asynchronous, on the main loop; never blocks.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/result.h"
#include "qmp/qmp.h"

namespace pvsched {

/// A domain as it is now; `xml` is the live one while it runs.
struct DomainInfo {
  std::string uuid;
  std::string name;
  std::string xml;
  bool active = false;
};

enum class DomainEvent {
  kStarted,  ///< runs, or came here by migration
  kStopped,  ///< has ended; a new run may have begun since
  kMetadata,  ///< its metadata was changed
  kDevices,  ///< a device came or went
};

class Host {
 public:
  virtual ~Host() = default;

  virtual bool connected() const = 0;
  /// Why it is not connected, as one sentence; empty while it is.
  virtual std::string trouble() const = 0;
  /// Errors: not connected, no such domain, what libvirt says.
  virtual void domain(const std::string& uuid, std::function<void(Result<DomainInfo>)> done) = 0;
  /// All domains that run.
  virtual void running(std::function<void(Result<std::vector<DomainInfo>>)> done) = 0;
  /// QMP through libvirt. Errors: not connected; EBUSY while an earlier command has not come back.
  virtual Result<std::unique_ptr<Qmp>> monitor(const std::string& uuid) = 0;
};

}  // namespace pvsched
