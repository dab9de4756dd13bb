// SPDX-License-Identifier: GPL-2.0-or-later
// Owners of libvirt objects.
#pragma once

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "common/result.h"

namespace pvsched {

struct FreeDomain {
  void operator()(virDomainPtr domain) const { virDomainFree(domain); }
};
/// Move-only owner of a domain.
using Domain = std::unique_ptr<virDomain, FreeDomain>;

struct FreeText {
  void operator()(char* text) const { std::free(text); }
};
/// Text that libvirt allocated.
using LibvirtText = std::unique_ptr<char, FreeText>;

/// What was registered with a connection; each holds a reference on it, so closing begins with taking them back.
struct Registrations {
  bool closing = false;
  std::vector<int> events;
  std::vector<int> monitor_events;
};

/// The connection is used from several threads at once, as libvirt allows. Closing it may block, so the last owner
/// hands that to a thread of its own.
using Connection = std::shared_ptr<virConnect>;
Connection own_connection(virConnectPtr raw, std::shared_ptr<Registrations> registrations);

/// The error of this thread's last libvirt call. Code: EIO.
inline Error libvirt_error(const std::string& what) { return Error(what + ": " + virGetLastErrorMessage(), EIO); }

inline std::string uuid_of(virDomainPtr domain) {
  char text[VIR_UUID_STRING_BUFLEN] = {};
  return virDomainGetUUIDString(domain, text) == 0 ? text : "";
}

}  // namespace pvsched
