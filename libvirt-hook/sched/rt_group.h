// SPDX-License-Identifier: GPL-2.0-or-later
// RT group scheduling (cgroup v1, CONFIG_RT_GROUP_SCHED): a cgroup without real-time run time refuses SCHED_FIFO
// even to root, and libvirt's cgroups have none. Fund raises a thread's cgroup and its ancestors; give_back undoes it.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "common/result.h"

namespace pvsched {

struct FundEntry;
struct BaselineTable;

/// Real-time run time asked for one vCPU thread, in us of each second: what the default budgets can take at most.
inline constexpr long kFundWantedUs = 500000;
/// With less a boost would be stalled by the kernel more than it helps.
inline constexpr long kFundLeastUs = 50000;

struct RtGroups {
  std::string proc = "/proc";
  std::string cgroup = "/sys/fs/cgroup";
};

/// The thread's path in the hierarchy of a controller of cgroup version 1, or, with no name, in that of version 2.
std::string cgroup_path(const std::string& proc, pid_t tid, const std::string& controller);

/// The cgroup directory that bounds a thread's real-time run time, empty where this kernel has no such bound.
std::string rt_group_of(const RtGroups& roots, pid_t tid);

/// Whether real-time policies are refused to the thread for want of run time.
bool needs_funds(const RtGroups& roots, pid_t tid);

/// Raises the run time of the threads' cgroups and of their ancestors, noting each in the table first. `notes` takes
/// the indices of the entries made. Errors: not enough left, with how much there is; nothing is changed then.
Status fund(const RtGroups& roots, const std::vector<pid_t>& tids, BaselineTable& table, std::vector<unsigned>& notes);

/// Takes one raise back: the value falls by what was added, so that other VMs' funds in a shared parent stay. False
/// while the kernel refuses, as it does if a real-time task is in the cgroup: the entry stays, to be tried again.
bool give_back(FundEntry& entry);

}  // namespace pvsched
