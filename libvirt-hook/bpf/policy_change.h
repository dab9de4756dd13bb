// SPDX-License-Identifier: GPL-2.0-or-later
// PolicyChange: another policy on its way into force. Linking and the verifier take up to a second, in which hooks wait
// for an answer: so that part is done on another thread. Policy (policy_object.h) begins a change and puts it in force.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bpf/policy_file.h"
#include "bpf/program_set.h"
#include "common/result.h"
#include "sched/engine.h"

namespace pvsched {

/// (name, state version) of a policy to an id that no other has.
using PolicyStates = std::map<std::pair<std::string, std::uint32_t>, std::uint32_t>;

/// Owns what it works with: whoever has it may use it, on one thread at a time.
struct PolicyChange {
  std::string framework;  ///< path of pvsched.bpf.o
  std::vector<SourceInfo> sources;
  std::vector<PolicyFile> policies;  ///< by slot; a slot may be empty (no name)
  PolicyStates states;
  std::shared_ptr<ProgramSet> current;  ///< in force; null: nothing is, or the new one shall share nothing with it
  bool attach = false;  ///< the one in force was attached when the change began
  unsigned slot = 0;  ///< of the new policy
  std::shared_ptr<ProgramSet> next;  ///< what prepare() has made

  /// Is there a policy of that name?
  bool has(const std::string& name) const;
  /// Puts a policy in the slot of the one of its name, or in a free one. Errors: no slot is free.
  Status place(PolicyFile policy);
  /// Links and loads the policies and, beside the ones in force, attaches them: they find themselves inactive. Errors:
  /// the verifier's last lines.
  Status prepare();
};

}  // namespace pvsched
