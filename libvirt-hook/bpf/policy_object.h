// SPDX-License-Identifier: GPL-2.0-or-later
// Policy: the loaded BPF programs. Registers VMs and vCPU threads, hands out areas, mailboxes and statistics; has the
// policies in their slots and swaps them while VMs run.
//
// Main thread only, but for consume(), mailbox(), stats() and in_scheduler(), which the actuator thread uses too.
#pragma once

#include <sys/types.h>

#include <array>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "bpf/policy_change.h"
#include "bpf/policy_file.h"
#include "bpf/program_set.h"
#include "common/result.h"
#include "policy.h"
#include "sched/engine.h"

struct pvs_globals;
struct pvs_scx_report;
struct ring_buffer;

namespace pvsched {

class Policy {
 public:
  /// Probes the event sources, then loads the framework with the policies given, the first being the default. Nothing
  /// is attached. `framework` is the path of pvsched.bpf.o; probe.bpf.o stands beside it. Errors: no BTF, no
  /// privilege, a required source missing, the verifier's last lines, more policies than PVS_POLICY_SLOTS.
  static Result<std::unique_ptr<Policy>> load(const std::string& framework, std::vector<PolicyFile> policies);
  ~Policy();
  Policy(const Policy&) = delete;
  Policy& operator=(const Policy&) = delete;

  const std::vector<SourceInfo>& sources() const { return sources_; }

  /// The policies that are loaded, by slot; a slot may be empty (no name).
  const std::vector<PolicyFile>& policies() const { return policies_; }
  /// A change from what is in force now. One at a time: two that begin here know nothing of each other.
  PolicyChange begin_change() const;
  /// Puts a prepared change in force, while VMs run; no event is lost, and a vCPU's state is kept where its version is
  /// the same. What was in force is let go with `change`. Errors: it cannot be attached, all is as before.
  Status finish_change(PolicyChange& change);
  /// Has a policy but the default misbehaved since the last call? Its VMs are served by the default from then on, and
  /// it can be chosen again once it is loaded again. Returns a sentence for each.
  std::vector<std::string> stop_misbehaving();
  /// Why the slot's policy was stopped; empty: it was not.
  const std::string& stopped(unsigned slot) const { return stopped_[slot]; }

  void set_enabled(bool on);
  bool enabled() const;

  /// Index of a free VM entry, now taken. Errors: all PVS_MAX_VMS taken, no such policy.
  Result<VmId> add_vm(pid_t pid, const pvs_limits& limits, const std::string& policy);
  /// In force at once. Errors: no such policy.
  Status set_limits(VmId vm, pvs_limits limits, const std::string& policy);
  void remove_vm(VmId vm);

  /// New, zeroed areas for `slots` vCPUs, in force at once.
  Result<AreaFds> create_areas(VmId vm, unsigned slots);
  void drop_areas(VmId vm);

  /// An index that no thread has, its mailbox and statistics empty; the next add_vcpu() takes it. Errors: all
  /// PVS_MAX_VCPUS taken.
  Result<unsigned> reserve_vcpu();
  /// Puts a thread under the policy as `index`. Attaches the programs with the first thread. Errors: attaching fails,
  /// the thread is registered already.
  Status add_vcpu(VmId vm, unsigned index, const VcpuSpec& spec);
  /// Takes it out; no decision for it follows. Detaches the programs with the last thread.
  void remove_vcpu(unsigned index);
  /// What policies see as the tag of `index`'s vCPU; in force at once.
  void set_tag(unsigned index, std::uint32_t tag);
  /// What the kernel's side may read of `index`'s preferred CPUs; the empty set: none.
  void set_preference(unsigned index, const CpuSet& cpus);
  /// Counts a thread that is no vCPU as a foreground one from its next switch on. Errors: PVS_MAX_OTHERS counted,
  /// counted already.
  Status count_other(pid_t tid);
  /// Ends that; an unknown thread is ignored.
  void forget_other(pid_t tid);
  /// Foreground threads that want a CPU now.
  unsigned foreground() const;
  /// Has the policy look at the thread anew, after limits, areas or the switch changed.
  void evaluate(unsigned index);

  pvs_mailbox& mailbox(unsigned index) const { return mailboxes_[index]; }
  pvs_stats& stats(unsigned index) const { return stats_[index]; }

  /// Descriptors of the maps that the sched_ext scheduler shares, by name.
  std::map<std::string, int> scheduler_maps() const;
  /// Whether the scheduler is in force: the policy then carries its decisions out through it, without records.
  bool in_scheduler() const;

  /// Descriptor that is readable when records wait, for epoll.
  int ring_fd() const;
  /// Calls the sink given to on_record() for each waiting record.
  void consume();
  /// Set once, before the first vCPU.
  void on_record(std::function<void(unsigned index)> sink) { sink_ = std::move(sink); }

 private:
  struct Vcpu {
    VmId vm = 0;
    VcpuSpec spec;
    pid_t tgid = 0;
  };
  struct Vm {
    bool used = false;
    pid_t pid = 0;
    unsigned vcpus = 0;
    unsigned slot = 0;  ///< of its policy
  };
  /// Of the vCPUs that one policy serves.
  struct Conduct {
    std::uint64_t events = 0;
    std::uint64_t refused = 0;
    std::uint64_t calls = 0;
    std::uint64_t ns = 0;
  };

  Policy() = default;
  void take_over(std::shared_ptr<ProgramSet> next);
  std::array<Conduct, PVS_POLICY_SLOTS> conduct() const;
  static std::string fault_in(const Conduct& was, const Conduct& is);
  Status map_shared();
  void filter(unsigned id, int step);
  void clear_host_slot(VmId vm, unsigned slot);
  Status attach();
  Status run_control(pid_t tid, unsigned what);
  void update_only_vcpu(VmId vm);
  static int record_callback(void* self, void* data, std::size_t size);

  std::string framework_;
  std::vector<SourceInfo> sources_;
  std::vector<PolicyFile> policies_;
  std::array<std::string, PVS_POLICY_SLOTS> stopped_;
  std::array<Conduct, PVS_POLICY_SLOTS> conduct_;  ///< at the last look
  PolicyStates states_;
  std::shared_ptr<ProgramSet> set_;
  ring_buffer* ring_ = nullptr;
  pvs_globals* globals_ = nullptr;
  pvs_mailbox* mailboxes_ = nullptr;
  pvs_stats* stats_ = nullptr;
  pvs_scx_report* scx_report_ = nullptr;
  int vcpus_fd_ = -1, apics_fd_ = -1, limits_fd_ = -1, guest_areas_fd_ = -1, host_areas_fd_ = -1, others_fd_ = -1,
      preferences_fd_ = -1;
  std::vector<std::uint16_t> filter_count_;
  std::vector<Vm> vms_;
  std::vector<std::unique_ptr<Vcpu>> vcpus_;
  std::set<pid_t> others_;
  std::function<void(unsigned)> sink_;
};

}  // namespace pvsched
