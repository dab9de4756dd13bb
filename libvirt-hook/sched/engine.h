// SPDX-License-Identifier: GPL-2.0-or-later
// Engine: the BPF policy, the actuator thread and the guardian behind one door. A session talks only to this.
//
// All calls come from the main thread and return within milliseconds. Threads are named by TID and start time.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bpf/policy_trust.h"
#include "common/cpus.h"
#include "common/fd.h"
#include "common/result.h"
#include "policy.h"

namespace pvsched {

/// Where the engine finds things; tests inject fixture trees.
struct EngineOptions {
  std::string bpf_object;  ///< path of pvsched.bpf.o
  std::vector<std::string> policies;  ///< folders of policy objects; of two with one name the first found counts
  TrustRules trust;  ///< of policy objects
  std::string guardian;  ///< path of the pvsched-guardian executable
  std::string run_dir = "/run/pvsched";  ///< baselines table, writable by root only
  std::string proc = "/proc";
  std::string cgroup = "/sys/fs/cgroup";
  unsigned lease_ms = 200;  ///< heartbeat age after which the guardian restores every thread
  int actuator_priority = 99;
  std::string actuator = "setattr";  ///< the one chosen: "setattr" or "scx"
  std::string scheduler;  ///< path of scheduler.bpf.o, for "scx"
  std::string sys = "/sys";
};

inline constexpr const char* kSetattr = "setattr";
inline constexpr const char* kScx = "scx";

/// What makes decisions true.
struct ActuatorInfo {
  std::string name;  ///< "setattr" or "scx"
  std::string chosen;  ///< what the administrator wants
  std::string reason;  ///< why it is not that, where it is not
};

/// One event source and whether this kernel gives it.
struct SourceInfo {
  std::string name;  ///< "sched_switch", "kvm_entry", ...
  bool available = false;
  std::string reason;  ///< why not, where not
};

inline constexpr const char* kDefaultPolicy = "latency";

/// A policy object, as it describes itself.
struct PolicyInfo {
  std::string name;
  std::string version;
  std::string summary;
  std::string path;
  std::string trust;  ///< who vouches for it: "owner", "key NAME"
  std::string refused;  ///< why it is not loaded, where it is not
};

using VmId = std::uint32_t;

struct VcpuSpec {
  unsigned id = 0;  ///< QEMU CPU index = slot
  pid_t tid = 0;
  std::uint64_t start_time = 0;  ///< field 22 of /proc/PID/task/TID/stat, clock ticks since boot
  std::uint32_t apic_id = 0;
  std::uint32_t tag = 0;  ///< PVS_TAG_*, as policies see it
};

/// How real-time boosts are had for a VM.
enum class RtMode {
  kRealtime,  ///< SCHED_FIFO/RR is allowed as it is
  kFunded,  ///< RT group scheduling: the VM's cgroups were given run time
  kFair,  ///< refused: nice -20 and a short slice instead
};

struct VcpuStatus {
  VcpuSpec spec;
  std::uint64_t decision = 0;  ///< PVS decision word
  std::uint64_t applied = 0;
  bool foreign = false;  ///< an administrator's own setting was found and is left alone
  bool alive = true;
  pvs_stats stats{};
};

struct VmStatus {
  RtMode rt_mode = RtMode::kRealtime;
  std::string rt_reason;
  std::vector<VcpuStatus> vcpus;
};

/// Descriptors of the two areas of a VM; `slots` slots each.
struct AreaFds {
  Fd guest;
  Fd host;
  unsigned slots = 0;
};

class Engine {
 public:
  /// Loads and probes the policy, starts guardian and actuator. Nothing is attached until a vCPU is added.
  /// Errors: object missing or refused by the verifier (with its last lines), no privilege, no BTF.
  static Result<std::unique_ptr<Engine>> create(const EngineOptions& options);
  virtual ~Engine() = default;

  /// Registers a VM whose QEMU process is `pid`. Errors: table full, no such policy.
  virtual Result<VmId> add_vm(pid_t pid, const pvs_limits& limits, const std::string& policy) = 0;
  /// Creates zeroed areas for `slots` vCPUs, in force at once; earlier ones of this VM are let go.
  virtual Result<AreaFds> create_areas(VmId vm, unsigned slots) = 0;
  /// Lets the areas go: the VM is agentless again.
  virtual void drop_areas(VmId vm) = 0;
  /// New limits and policy, in force at once. Errors: no such policy, all is as before.
  virtual Status set_limits(VmId vm, const pvs_limits& limits, const std::string& policy) = 0;
  /// Captures the thread's baseline and puts it under the policy. Errors: thread gone or not the one meant, table full.
  virtual Status add_vcpu(VmId vm, const VcpuSpec& spec) = 0;
  /// Restores the baseline, then forgets the thread. Unknown ids are ignored.
  virtual void remove_vcpu(VmId vm, unsigned id) = 0;
  /// Removes all vCPUs, areas and cgroup funds of the VM.
  virtual void remove_vm(VmId vm) = 0;

  /// The vCPU's tag from now on, in force at once. Unknown ids are ignored.
  virtual void set_tag(VmId vm, unsigned id, std::uint32_t tag) = 0;
  /// Keeps the vCPU's thread on those of `prefer` that its own affinity has; the empty set ends that. Called now and
  /// then. Returns what of the preference is left. Errors: no such vCPU, its thread is gone.
  virtual Result<CpuSet> place(VmId vm, unsigned id, const CpuSet& prefer) = 0;
  /// Gives a thread of the VM's QEMU that is no vCPU a class, `body` of a decision, until clear_class() or the VM's
  /// end. Again: where it has lost it. Errors: gone, not the one meant, somebody else's attributes, refused, table
  /// full.
  virtual Status set_class(VmId vm, pid_t tid, std::uint64_t start_time, std::uint32_t body) = 0;
  /// Puts the thread back to its baseline; an unknown one is ignored.
  virtual void clear_class(VmId vm, pid_t tid) = 0;
  /// Counts a thread that is no vCPU as a foreground one: background vCPUs give way while it wants a CPU. Its own
  /// scheduling is left alone. Errors: table full, counted already.
  virtual Status count_other(pid_t tid) = 0;
  /// Ends that; an unknown thread is ignored.
  virtual void forget_other(pid_t tid) = 0;
  /// Foreground threads that want a CPU now.
  virtual unsigned foreground() const = 0;

  virtual void set_enabled(bool on) = 0;
  virtual bool enabled() const = 0;

  /// The policies that are loaded and those that were found and refused.
  virtual std::vector<PolicyInfo> policies() const = 0;
  /// What became of an object; on the main thread, and never if the engine is gone by then.
  using PolicyDone = std::function<void(Result<PolicyInfo>)>;
  /// Loads a policy object while VMs run. These three return at once: reading and verifying take up to seconds, on
  /// another thread, one object after the other. Errors: why it is refused; one of its name is loaded.
  virtual void load_policy(const std::string& path, PolicyDone done) = 0;
  /// Puts an object in the place of the policy of its name, for all VMs at once. Errors: as above; there is none.
  virtual void swap_policy(const std::string& path, PolicyDone done) = 0;
  /// As these up to the point where it would come in force.
  virtual void verify_policy(const std::string& path, PolicyDone done) = 0;

  /// Serves the VMs of a policy that misbehaves by the default one; a sentence for each such policy. Called now and
  /// then.
  virtual std::vector<std::string> stop_misbehaving() = 0;

  virtual std::vector<SourceInfo> sources() const = 0;
  virtual ActuatorInfo actuator() const = 0;
  /// The administrator's choice, in force at once; it also tries the scheduler anew after that has ended. Errors: no
  /// such actuator; why the scheduler is not had, `setattr` is in force then.
  virtual Status choose_actuator(const std::string& name) = 0;
  /// Lets go of a scheduler that the kernel has ended; `setattr` has taken over by itself. While it is in force, finds
  /// the threads that an administrator has taken out of its reach. Called now and then.
  virtual void watch_actuator() = 0;
  virtual Result<VmStatus> status(VmId vm) const = 0;
};

}  // namespace pvsched
