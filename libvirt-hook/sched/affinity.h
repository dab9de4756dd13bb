// SPDX-License-Identifier: GPL-2.0-or-later
// A thread on preferred CPUs. Its own affinity is kept in the table of baselines, so that it comes back whoever dies.
#pragma once

#include "common/cpus.h"
#include "common/result.h"

namespace pvsched {

struct BaselineEntry;

/// Confines the entry's thread to those of `prefer` that its own affinity has; none, or all, of them: its own affinity
/// is put back. An affinity that somebody else has set since counts as its own from then on. Returns what of the
/// preference is left. Errors: the thread is gone, the kernel refuses.
Result<CpuSet> place_thread(BaselineEntry& entry, const CpuSet& prefer);

/// Puts the thread's own affinity back where it still has what was given. False while the kernel refuses.
bool restore_affinity(const BaselineEntry& entry);

}  // namespace pvsched
