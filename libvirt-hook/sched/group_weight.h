// SPDX-License-Identifier: GPL-2.0-or-later
// The weight of a VM's cgroup. With group scheduling a thread's nice value counts among the threads of its own cgroup
// only: a VM gives way to another if its cgroup weighs less. Lowered while all of the VM's vCPUs yield.
#pragma once

#include <sys/types.h>

#include <string>

#include "sched/rt_group.h"

namespace pvsched {

struct WeightEntry;

/// The cgroup of a VM in the cpu controller, version 1 or 2, by its process's main thread: libvirt's, or the uppermost
/// that holds nothing but that process; empty where there is none.
std::string weight_group_of(const RtGroups& roots, pid_t pid);

/// Notes the group's weight as it is. False: it has none, or the path is too long.
bool note_weight(const std::string& group, WeightEntry& entry);

/// Lowers the weight to the least there is, or puts it back; the latter only where it is what was set. Allocates
/// nothing. False while the kernel refuses.
bool set_lowered(WeightEntry& entry, bool lowered);

}  // namespace pvsched
