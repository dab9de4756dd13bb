// SPDX-License-Identifier: GPL-2.0-or-later
// The policy objects in the library's folders.
#pragma once

#include <string>
#include <vector>

#include "bpf/policy_file.h"
#include "sched/engine.h"

namespace pvsched {

struct PolicyLibrary {
  std::vector<PolicyFile> policies;  ///< the default first, then by name; at most PVS_POLICY_SLOTS
  std::vector<PolicyInfo> refused;  ///< what else was found, and why not
};

/// Reads every *.bpf.o of the folders that exist. Of two policies with one name that of the earlier folder counts.
PolicyLibrary read_library(const std::vector<std::string>& folders, const TrustRules& rules);

PolicyInfo info_of(const PolicyFile& file);

}  // namespace pvsched
