// SPDX-License-Identifier: GPL-2.0-or-later
// pvschedctl policy: list, show, load, swap, verify, new.
#pragma once

#include <string>

#include "ctl/commands.h"

namespace pvsched {

/// The policies that pvschedd has and those that it found and refused; of one `name` only where that is given.
int run_policy_list(const CtlOptions& options, const std::string& name, bool json);
/// `operation` "load", "swap" or "verify": has pvschedd do that with an object.
int run_policy_take(const CtlOptions& options, const std::string& operation, const std::string& path);
/// Writes a policy of that name with a test and a Makefile, made from those in `from`, into a new folder.
int run_policy_new(const std::string& name, const std::string& folder, const std::string& from);

}  // namespace pvsched
