// SPDX-License-Identifier: GPL-2.0-or-later
// What the control socket's requests do. Each is an object with "op"; each answer has "ok", and "message" where not.
//
//   hook     name operation [sub extra] xml   -> warnings, or a refusal (only of prepare and start)
//   status   [domain]                         -> the whole state
//   enable, disable  [domain]                 -> of all VMs, or of one by name or UUID, until the daemon ends
//   attach   qmp [name limits]                -> when the first look at that QEMU has gone well
//   detach   qmp
//   reload   ping
//   policies, policy-load, policy-swap, policy-verify  path;  tags, tag-set, tag-clear: tag_requests.h
#pragma once

#include <functional>
#include <string>

#include "daemon/control.h"
#include "daemon/sessions.h"

namespace pvsched {

struct RequestServices {
  Engine* engine = nullptr;
  Sessions* sessions = nullptr;
  Host* host = nullptr;  ///< null: without libvirt
  std::string libvirt_uri;
  std::function<Status()> reload;
  std::function<void()> hook_heard = [] {};  ///< libvirtd lives
};

ControlServer::Handler make_request_handler(RequestServices services);

}  // namespace pvsched
