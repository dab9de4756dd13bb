// SPDX-License-Identifier: GPL-2.0-or-later
#include "bpf/policy_change.h"

#include <algorithm>

#include "maps.h"

namespace pvsched {

bool PolicyChange::has(const std::string& name) const {
  return std::any_of(policies.begin(), policies.end(), [&](const PolicyFile& policy) { return policy.name == name; });
}

Status PolicyChange::place(PolicyFile policy) {
  auto find = [&](const std::string& name) {
    return std::find_if(policies.begin(), policies.end(), [&](const PolicyFile& other) { return other.name == name; });
  };
  auto at = find(policy.name);
  if (at == policies.end()) at = find("");
  if (at == policies.end()) return Error("all " + std::to_string(PVS_POLICY_SLOTS) + " slots for policies are taken");
  slot = static_cast<unsigned>(at - policies.begin());
  *at = std::move(policy);
  return {};
}

Status PolicyChange::prepare() {
  std::map<unsigned, const PolicyFile*> slots;
  pvs_self self{current ? current->generation() + 1 : 1, {}};
  for (unsigned number = 0; number < policies.size(); ++number) {
    const PolicyFile& policy = policies[number];
    if (policy.name.empty()) continue;
    slots[number] = &policy;
    const auto id = static_cast<std::uint32_t>(states.size()) + 1;
    self.states[number] = states.emplace(std::make_pair(policy.name, policy.state), id).first->second;
  }
  auto object = link_policies(framework, slots);
  if (!object) return object.error();
  auto set = ProgramSet::load(*object, sources, self, current.get());
  if (!set) return set.error();
  next = set.take();
  return attach ? next->attach(sources) : Status();
}

}  // namespace pvsched
