// SPDX-License-Identifier: GPL-2.0-or-later
// Placement: whether a VM is to be on its preferred CPUs, by how busy they are with others. Pure.
#pragma once

#include "common/cpus.h"

namespace pvsched {

/// Samples in a row above the threshold after which a VM leaves.
inline constexpr unsigned kLeaveAfter = 2;
/// Samples in a row at least kComeBackBelow percent under it after which a VM is back.
inline constexpr unsigned kComeBackAfter = 5;
inline constexpr unsigned kComeBackBelow = 20;

class Placement {
 public:
  /// One sample. `others`: share, 0 to 1, that others than this VM have of the preferred CPUs.
  void step(const CpuRule& rule, double others) {
    const double percent = others * 100;
    const double limit = rule.busy;
    const bool turn = away_ ? percent <= limit - kComeBackBelow || percent <= limit / 2 : percent > limit;
    streak_ = turn ? streak_ + 1 : 0;
    if (streak_ < (away_ ? kComeBackAfter : kLeaveAfter)) return;
    away_ = !away_;
    streak_ = 0;
  }
  bool away() const { return away_; }

 private:
  bool away_ = false;
  unsigned streak_ = 0;
};

}  // namespace pvsched
