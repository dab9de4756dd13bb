// SPDX-License-Identifier: GPL-2.0-or-later
#include "sched/affinity.h"

#include <cerrno>

#include "sched/baselines.h"

namespace pvsched {

Result<CpuSet> place_thread(BaselineEntry& entry, const CpuSet& prefer) {
  const std::string thread = "thread " + std::to_string(entry.tid);
  CpuSet now;
  if (int err = get_affinity(entry.tid, now)) return Error::system(thread, err);
  if (start_time("/proc", entry.tid) != entry.start_time) return Error(thread + " has ended", ESRCH);
  const bool ours = entry.placed && now == entry.given;
  const CpuSet own = ours ? entry.cpus : now;
  const CpuSet wanted = prefer & own;
  if (wanted.empty() || wanted == own) {
    if (ours)
      if (int err = set_affinity(entry.tid, own)) return Error::system(thread, err);
    entry.placed = 0;
    return wanted;
  }
  if (ours && wanted == now) return wanted;
  // Noted before it is done; the guardian may read at any time.
  if (!ours) {
    entry.placed = 0;
    entry.cpus = own;
  }
  entry.given_before = entry.placed ? entry.given : wanted;
  entry.given = wanted;
  entry.placed = 1;
  if (int err = set_affinity(entry.tid, wanted)) return Error::system(thread, err);
  return wanted;
}

bool restore_affinity(const BaselineEntry& entry) {
  CpuSet now;
  if (!entry.placed || get_affinity(entry.tid, now) != 0) return true;
  if (now != entry.given && now != entry.given_before) return true;
  return now == entry.cpus || set_affinity(entry.tid, entry.cpus) != EPERM;
}

}  // namespace pvsched
