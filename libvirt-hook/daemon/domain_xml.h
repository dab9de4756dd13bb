// SPDX-License-Identifier: GPL-2.0-or-later
// What the daemon needs of a domain XML besides the metadata element.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace pvsched {

struct DomainXml {
  std::string uuid;
  std::string name;
  std::string qmp_socket;  ///< of a `-qmp unix:PATH,...` in qemu:commandline; empty where there is none
};

/// Errors: not well-formed, has a DOCTYPE, or is no domain with a UUID and a name.
Result<DomainXml> parse_domain_xml(std::string_view xml);

/// The path in the arguments of a QEMU command line: `-qmp unix:PATH,server=on,wait=off`; empty where there is none.
std::string qmp_socket_of(const std::vector<std::string>& arguments);

}  // namespace pvsched
