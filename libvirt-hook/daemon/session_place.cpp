// SPDX-License-Identifier: GPL-2.0-or-later
// Session: preferred CPUs, those of the VM or else of the vCPU's tag.
#include <cstdlib>

#include "daemon/session.h"

namespace pvsched {
namespace {

// Seconds that a thread has been on a CPU; 0 where it is gone.
double seconds_run(const std::string& proc, pid_t tid) {
  auto text = read_file(proc + "/" + std::to_string(tid) + "/schedstat", 256);
  return text ? std::strtod(text->c_str(), nullptr) / 1e9 : 0;
}

}  // namespace

// Which part of its run time a vCPU has had on these CPUs: where it may run on others too, their part of all.
double Session::share_on(const Vcpu& vcpu, const CpuSet& cpus) {
  CpuSet may = vcpu.on;
  if (may.empty() && get_affinity(vcpu.spec.tid, may) != 0) return 0;
  return static_cast<double>((may & cpus).count()) / may.count();
}

const CpuRule* Session::rule_of(const Vcpu& vcpu) const {
  if (config_.cpus) return &*config_.cpus;
  if (env_.tags == nullptr || env_.tag_cpus == nullptr) return nullptr;
  auto it = env_.tag_cpus->find(env_.tags->name(vcpu.spec.tag));
  return it == env_.tag_cpus->end() ? nullptr : &it->second;
}

bool Session::prefers_cpus() const {
  for (const auto& [id, vcpu] : vcpus_)
    if (vcpu.registered && (rule_of(vcpu) != nullptr || !vcpu.on.empty())) return true;
  return false;
}

// What this VM's own vCPUs have had of the CPUs they are kept on is not others' load.
void Session::place(const CpuLoad& load) {
  if (!vm_) return;
  std::map<unsigned, double> ran;
  for (auto& [id, vcpu] : vcpus_) {
    const double now = seconds_run(env_.proc, vcpu.spec.tid);
    ran[id] = load.seconds() > 0 && vcpu.ran > 0 ? (now - vcpu.ran) / load.seconds() : 0;
    vcpu.ran = now;
  }
  for (auto& [id, vcpu] : vcpus_) {
    const CpuRule* rule = rule_of(vcpu);
    if (!vcpu.registered || (rule == nullptr && vcpu.on.empty())) continue;
    const CpuSet& cpus = vcpu.on.empty() && rule != nullptr ? rule->prefer : vcpu.on;
    if (rule != nullptr && (vcpu.placement.away() || !vcpu.on.empty())) {
      double own = 0;
      for (const auto& [other, beside] : vcpus_) own += ran[other] * share_on(beside, cpus);
      vcpu.placement.step(*rule, load.busy(cpus) - own / cpus.count());
    }
    const bool stays = rule != nullptr && !vcpu.placement.away();
    auto on = env_.engine->place(*vm_, id, stays ? rule->prefer : CpuSet());
    vcpu.on = on && stays ? *on : CpuSet();
  }
}

Json Session::cpus_json(const Vcpu& vcpu) const {
  const CpuRule* rule = rule_of(vcpu);
  if (rule == nullptr) return nullptr;
  return {{"prefer", format_cpus(rule->prefer)},
          {"busy", rule->busy},
          {"on", format_cpus(vcpu.on)},
          {"away", vcpu.placement.away()}};
}

}  // namespace pvsched
