// SPDX-License-Identifier: GPL-2.0-or-later
// Actuator: the one thread that changes scheduling attributes. It waits for the policy's records with real-time
// priority and locked memory, reads the latest decision from the mailbox and makes it true: no allocation, no lock,
// no log on that path.
//
// While the sched_ext scheduler is in force, decisions are carried out there: the thread keeps all attributes at their
// baselines, looks a few times a second whether that is still so, and makes all decisions true once it is not.
#pragma once

#include <atomic>
#include <memory>
#include <thread>

#include "bpf/policy_object.h"
#include "common/fd.h"
#include "common/result.h"
#include "sched/baselines.h"

namespace pvsched {

class Guardian;

class Actuator {
 public:
  /// Starts the thread with SCHED_FIFO `priority`. Errors: cannot lock memory or make descriptors. Where the
  /// real-time policy is refused the thread runs with nice -20 and realtime() is false.
  static Result<std::unique_ptr<Actuator>> start(Policy& policy, Baselines& baselines, Guardian& guardian,
                                                 int priority);
  ~Actuator();
  Actuator(const Actuator&) = delete;
  Actuator& operator=(const Actuator&) = delete;

  /// Captures the baseline of `spec`'s thread into entry `index`. Call before the policy knows the thread.
  /// Errors: gone, or another thread by now.
  Status adopt(unsigned index, VmId vm, const VcpuSpec& spec, RtMode mode);
  /// Has the thread put entry `index` back to its baseline, waits for it, and frees the entry.
  void release(unsigned index);

  /// While the scheduler carries decisions out: which threads have attributes of somebody else's, and so may not be
  /// its.
  void look_for_foreign();
  bool foreign(unsigned index) const { return foreign_[index]; }
  bool realtime() const { return realtime_; }

 private:
  Actuator(Policy& policy, Baselines& baselines, Guardian& guardian)
      : policy_(policy), baselines_(baselines), guardian_(guardian) {}
  void run(int priority);
  void turn();  ///< waits until the thread has gone through its loop once
  void apply(unsigned index);
  void weigh(VmId vm);
  void resync();
  void look_again();
  void follow_scheduler();
  template <typename Visit>
  void each_active(Visit visit);
  void serve_commands();

  Policy& policy_;
  Baselines& baselines_;
  Guardian& guardian_;
  Fd command_, command_peer_;  ///< main thread's and actuator's ends: an index to release, the same index back
  Fd epoll_;
  std::uint32_t fence_ = 0;
  std::uint64_t last_look_ = 0;
  bool guardian_missing_ = false;
  bool in_scheduler_ = false;
  std::atomic<bool> realtime_{false};
  std::atomic<bool> foreign_[PVS_MAX_VCPUS]{};
  std::thread thread_;
};

}  // namespace pvsched
