// SPDX-License-Identifier: GPL-2.0-or-later
// Adds pvsched to a domain XML, or takes it out. All else stays as it is, byte for byte up to quotes.
#pragma once

#include <string>

#include "common/result.h"

namespace pvsched {

struct SetupOptions {
  std::string plugin;  ///< of QEMU, brings the device; empty: no device, the VM is served agentless
  std::string qmp_socket;  ///< empty: none, the daemon goes through libvirt
  std::string element;  ///< the pvsched element; empty: the default one
};

struct DomainEdit {
  std::string before;  ///< the given XML as written by the same writer, for comparison
  std::string after;
  bool changed() const { return before != after; }
};

/// Adds what is missing: the metadata element, and QEMU arguments in qemu:commandline. What is there already is kept,
/// but for a plugin at another path, which is put right. Errors: no domain XML, or the element is not well-formed.
Result<DomainEdit> add_pvsched(const std::string& xml, const SetupOptions& options);

/// Takes out everything that add_pvsched adds: of QMP sockets those in a folder pvsched/qmp, and `socket`.
/// Errors: no domain XML.
Result<DomainEdit> remove_pvsched(const std::string& xml, const std::string& socket = "");

}  // namespace pvsched
