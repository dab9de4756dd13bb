// SPDX-License-Identifier: GPL-2.0-or-later
// pvschedctl tag: list, set, clear.
#pragma once

#include <string>
#include <vector>

#include "ctl/commands.h"

namespace pvsched {

/// The tags that there are and what has one.
int run_tag_list(const CtlOptions& options, bool json);
/// `operation` "set" or "clear"; `words`: vm DOMAIN, vcpu DOMAIN ID, thread TID or cgroup PATH, and for "set" the
/// tag's name.
int run_tag_change(const CtlOptions& options, const std::string& operation, const std::vector<std::string>& words);

}  // namespace pvsched
