// SPDX-License-Identifier: GPL-2.0-or-later
// Policy: the loaded BPF object. Registers VMs and vCPU threads, hands out areas, mailboxes and statistics.
//
// Main thread only, but for consume(), mailbox() and stats(), which the actuator thread uses too.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/result.h"
#include "policy.h"
#include "sched/engine.h"

struct bpf_link;
struct bpf_object;
struct pvs_globals;
struct ring_buffer;

namespace pvsched {

class Policy {
 public:
  /// Probes the event sources, then loads the object with those that this kernel gives. Nothing is attached.
  /// `object` is the path of pvsched.bpf.o; probe.bpf.o stands beside it. Errors: no BTF, no privilege, a required
  /// source missing, the verifier's last lines.
  static Result<std::unique_ptr<Policy>> load(const std::string& object);
  ~Policy();
  Policy(const Policy&) = delete;
  Policy& operator=(const Policy&) = delete;

  const std::vector<SourceInfo>& sources() const { return sources_; }

  void set_enabled(bool on);
  bool enabled() const;

  /// Index of a free VM entry, now taken. Errors: all PVS_MAX_VMS taken.
  Result<VmId> add_vm(pid_t pid, const pvs_limits& limits);
  /// In force at the vCPUs' next event; see evaluate().
  Status set_limits(VmId vm, const pvs_limits& limits);
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
  /// Has the policy look at the thread anew, after limits, areas or the switch changed.
  void evaluate(unsigned index);

  pvs_mailbox& mailbox(unsigned index) const { return mailboxes_[index]; }
  pvs_stats& stats(unsigned index) const { return stats_[index]; }

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
    int guest_area = -1;
    int host_area = -1;
  };

  Policy() = default;
  Status probe(const std::string& object);
  Status open(const std::string& object);
  Status map_shared();
  Status attach();
  void detach();
  void filter(unsigned id, int step);
  Status run_control(pid_t tid, bool init);
  void update_only_vcpu(VmId vm);
  static int record_callback(void* self, void* data, std::size_t size);

  std::vector<SourceInfo> sources_;
  bpf_object* object_ = nullptr;
  std::vector<bpf_link*> links_;
  ring_buffer* ring_ = nullptr;
  pvs_globals* globals_ = nullptr;
  pvs_mailbox* mailboxes_ = nullptr;
  pvs_stats* stats_ = nullptr;
  int vcpus_fd_ = -1, apics_fd_ = -1, limits_fd_ = -1, guest_areas_fd_ = -1, host_areas_fd_ = -1, control_fd_ = -1;
  std::vector<std::uint16_t> filter_count_;
  std::vector<Vm> vms_;
  std::vector<std::unique_ptr<Vcpu>> vcpus_;
  std::function<void(unsigned)> sink_;
};

}  // namespace pvsched
