// SPDX-License-Identifier: GPL-2.0-or-later
// FakeEngine: an Engine that only remembers what it was told.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sched/engine.h"

namespace pvsched {

class FakeEngine : public Engine {
 public:
  struct Vm {
    pid_t pid = 0;
    pvs_limits limits{};
    std::string policy;
    std::map<unsigned, VcpuSpec> vcpus;
    unsigned slots = 0;  ///< of the areas; 0: none
  };

  Result<VmId> add_vm(pid_t pid, const pvs_limits& limits, const std::string& policy) override {
    calls.push_back("add_vm");
    if (vms.size() >= max_vms) return Error("table full", ENOSPC);
    vms[next_] = {pid, limits, policy, {}, 0};
    return next_++;
  }
  Result<AreaFds> create_areas(VmId vm, unsigned slots) override {
    calls.push_back("create_areas " + std::to_string(slots));
    vms.at(vm).slots = slots;
    AreaFds fds;
    fds.guest = Fd(::memfd_create("guest", MFD_CLOEXEC));
    fds.host = Fd(::memfd_create("host", MFD_CLOEXEC));
    fds.slots = slots;
    return fds;
  }
  void drop_areas(VmId vm) override {
    calls.push_back("drop_areas");
    vms.at(vm).slots = 0;
  }
  Status set_limits(VmId vm, const pvs_limits& limits, const std::string& policy) override {
    calls.push_back("set_limits");
    vms.at(vm).policy = policy;
    vms.at(vm).limits = limits;
    return {};
  }
  Status add_vcpu(VmId vm, const VcpuSpec& spec) override {
    calls.push_back("add_vcpu " + std::to_string(spec.id));
    if (!refuse_vcpu.empty()) return Error(refuse_vcpu, EPERM);
    vms.at(vm).vcpus[spec.id] = spec;
    return {};
  }
  void remove_vcpu(VmId vm, unsigned id) override {
    calls.push_back("remove_vcpu " + std::to_string(id));
    vms.at(vm).vcpus.erase(id);
  }
  void remove_vm(VmId vm) override {
    calls.push_back("remove_vm");
    vms.erase(vm);
  }
  void set_tag(VmId vm, unsigned id, std::uint32_t tag) override {
    calls.push_back("set_tag " + std::to_string(id) + " " + std::to_string(tag));
    if (auto it = vms.at(vm).vcpus.find(id); it != vms.at(vm).vcpus.end()) it->second.tag = tag;
  }
  Result<CpuSet> place(VmId vm, unsigned id, const CpuSet& prefer) override {
    if (!vms.at(vm).vcpus.contains(id)) return Error("no such vCPU", ENOENT);
    placed[id] = prefer & own_cpus;
    return placed[id];
  }
  Status set_class(VmId, pid_t tid, std::uint64_t, std::uint32_t body) override {
    classed[tid] = body;
    return {};
  }
  void clear_class(VmId, pid_t tid) override { classed.erase(tid); }
  Status count_other(pid_t tid) override {
    return others.insert(tid).second ? Status() : Error("counted already", EEXIST);
  }
  void forget_other(pid_t tid) override { others.erase(tid); }
  unsigned foreground() const override { return static_cast<unsigned>(others.size()); }
  void set_enabled(bool on) override { enabled_ = on; }
  bool enabled() const override { return enabled_; }
  std::vector<PolicyInfo> policies() const override { return loaded; }
  void load_policy(const std::string& path, PolicyDone done) override {
    calls.push_back("load_policy " + path);
    if (!refuse_policy.empty()) return done(Error(refuse_policy));
    loaded.push_back({path, "1.0", "", path, "owner", ""});
    done(loaded.back());
  }
  void swap_policy(const std::string& path, PolicyDone done) override {
    calls.push_back("swap_policy " + path);
    if (!refuse_policy.empty()) return done(Error(refuse_policy));
    done(PolicyInfo{path, "1.1", "", path, "owner", ""});
  }
  void verify_policy(const std::string& path, PolicyDone done) override {
    calls.push_back("verify_policy " + path);
    if (!refuse_policy.empty()) return done(Error(refuse_policy));
    done(PolicyInfo{path, "1.0", "", path, "owner", ""});
  }
  std::vector<std::string> stop_misbehaving() override { return std::exchange(misbehaving, {}); }
  std::vector<SourceInfo> sources() const override {
    return {{"sched_switch", true, ""}, {"kvm_exit", false, "no such tracepoint"}};
  }
  ActuatorInfo actuator() const override { return actuator_info; }
  Status choose_actuator(const std::string& name) override {
    calls.push_back("choose_actuator " + name);
    if (!refuse_actuator.empty()) return Error(refuse_actuator);
    actuator_info = {name, name, ""};
    return {};
  }
  void watch_actuator() override {}
  Result<VmStatus> status(VmId vm) const override {
    auto it = vms.find(vm);
    if (it == vms.end()) return Error("no such VM", ENOENT);
    VmStatus out;
    out.rt_mode = rt_mode;
    out.rt_reason = rt_reason;
    for (const auto& [id, spec] : it->second.vcpus) {
      VcpuStatus vcpu;
      vcpu.spec = spec;
      out.vcpus.push_back(vcpu);
    }
    return out;
  }

  int count(const std::string& call) const {
    int n = 0;
    for (const auto& made : calls) n += made == call ? 1 : 0;
    return n;
  }

  std::vector<std::string> calls;
  std::map<VmId, Vm> vms;
  std::set<pid_t> others;
  std::map<pid_t, std::uint32_t> classed;
  std::map<unsigned, CpuSet> placed;  ///< what place() has left of each vCPU's preference
  CpuSet own_cpus = *parse_cpus("0-7");  ///< of each thread
  std::size_t max_vms = PVS_MAX_VMS;
  std::string refuse_vcpu;
  std::vector<std::string> misbehaving;  ///< sentences for the next look
  ActuatorInfo actuator_info{"setattr", "setattr", ""};
  std::string refuse_actuator;  ///< why it is not chosen; empty: it is
  std::string refuse_policy;  ///< why no policy is taken; empty: it is
  std::vector<PolicyInfo> loaded{{"latency", "1.0", "the default", "/p/latency.bpf.o", "owner", ""}};
  RtMode rt_mode = RtMode::kRealtime;
  std::string rt_reason;

 private:
  bool enabled_ = true;
  VmId next_ = 1;
};

}  // namespace pvsched
