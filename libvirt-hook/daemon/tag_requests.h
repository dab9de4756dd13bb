// SPDX-License-Identifier: GPL-2.0-or-later
// The control socket's requests that are about tags.
//
//   tags                                      -> names, and what was tagged by hand
//   tag-set    domain [vcpu] | tid | cgroup, and tag, a name
//   tag-clear  domain [vcpu] | tid | cgroup
#pragma once

#include "daemon/requests.h"

namespace pvsched {

void do_tags(const RequestServices& services, const Json& request, const ControlServer::Reply& reply);
void do_tag_set(const RequestServices& services, const Json& request, const ControlServer::Reply& reply);
void do_tag_clear(const RequestServices& services, const Json& request, const ControlServer::Reply& reply);

}  // namespace pvsched
