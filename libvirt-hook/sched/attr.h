// SPDX-License-Identifier: GPL-2.0-or-later
// Scheduling attributes of one thread: read, write, compare, and make from a decision.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "sched/engine.h"

namespace pvsched {

/// struct sched_attr of sched_setattr(2), all of it.
struct SchedAttr {
  std::uint32_t size = sizeof(SchedAttr);
  std::uint32_t policy = 0;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime = 0;  ///< ns; of a fair thread its slice, 0: the kernel's own
  std::uint64_t deadline = 0;
  std::uint64_t period = 0;
  std::uint32_t util_min = 0;
  std::uint32_t util_max = 0;
};
static_assert(sizeof(SchedAttr) == 56);

/// Reads a thread's attributes; a fair thread's slice reads as 0 where it is the kernel's own. Returns 0 or an errno.
int get_attr(pid_t tid, SchedAttr& attr);

/// Writes them. Returns 0 or an errno (EPERM also for a real-time policy in a cgroup without real-time run time).
int set_attr(pid_t tid, const SchedAttr& attr);

/// Same scheduling in every field that its policy uses.
bool same_attr(const SchedAttr& a, const SchedAttr& b);

/// What a decision asks for on top of a baseline. A baseline that is as urgent already stays as it is.
/// With kFair a real-time boost becomes nice -20 with a short slice.
SchedAttr attr_for(std::uint32_t decision, const SchedAttr& baseline, RtMode mode);

/// Nanoseconds of /proc/TID/timerslack_ns, or 0 if it cannot be read. Real-time policies set it to 0 for good.
std::uint64_t get_timer_slack(pid_t tid);
void set_timer_slack(pid_t tid, std::uint64_t ns);

/// Field 22 of TASKDIR/stat (clock ticks since boot), or 0 if the thread is gone. `proc` is normally "/proc".
std::uint64_t start_time(const char* proc, pid_t tid);

}  // namespace pvsched
