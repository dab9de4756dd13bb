// SPDX-License-Identifier: GPL-2.0-or-later
// One question to pvschedd. Blocking, with a deadline.
#pragma once

#include <string>

#include "common/json.h"
#include "common/result.h"

namespace pvsched {

/// Sends one request and returns the answer. Errors: ENOTCONN where the daemon cannot be reached or does not answer
/// within `timeout_ms`; EPROTO where its answer is no JSON; 0 with the daemon's own words where it says no.
Result<Json> ask_daemon(const std::string& socket, const Json& request, unsigned timeout_ms);

}  // namespace pvsched
