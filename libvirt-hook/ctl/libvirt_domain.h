// SPDX-License-Identifier: GPL-2.0-or-later
// pvschedctl's own, blocking, use of libvirt.
#pragma once

#include <string>

#include "common/result.h"
#include "libvirt/handles.h"

namespace pvsched {

struct CloseConnection {
  void operator()(virConnectPtr connection) const { virConnectClose(connection); }
};
using OwnedConnection = std::unique_ptr<virConnect, CloseConnection>;

/// Errors: what libvirt says.
Result<OwnedConnection> connect_libvirt(const std::string& uri);

/// By name, UUID or id. Errors: no such domain.
Result<Domain> find_domain(const OwnedConnection& connection, const std::string& domain);

/// The XML; `persistent`: as it will be at the next start. Errors: what libvirt says.
Result<std::string> domain_xml(const Domain& domain, bool persistent);

}  // namespace pvsched
