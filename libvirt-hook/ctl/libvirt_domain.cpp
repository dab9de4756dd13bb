// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/libvirt_domain.h"

namespace pvsched {

Result<OwnedConnection> connect_libvirt(const std::string& uri) {
  virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});
  OwnedConnection connection(virConnectOpen(uri.c_str()));
  if (!connection) return libvirt_error("cannot connect to libvirt at " + uri);
  return connection;
}

Result<Domain> find_domain(const OwnedConnection& connection, const std::string& domain) {
  Domain found(virDomainLookupByName(connection.get(), domain.c_str()));
  if (!found) found.reset(virDomainLookupByUUIDString(connection.get(), domain.c_str()));
  if (!found) return Error("there is no domain '" + domain + "'", ENOENT);
  return found;
}

Result<std::string> domain_xml(const Domain& domain, bool persistent) {
  const unsigned flags = persistent ? VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE : 0;
  LibvirtText text(virDomainGetXMLDesc(domain.get(), flags));
  if (!text) return libvirt_error("no XML");
  return std::string(text.get());
}

}  // namespace pvsched
