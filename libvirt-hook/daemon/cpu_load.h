// SPDX-License-Identifier: GPL-2.0-or-later
// CpuLoad: how busy each CPU has been between two samples, from /proc/stat.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/cpus.h"

namespace pvsched {

class CpuLoad {
 public:
  explicit CpuLoad(std::string proc) : proc_(std::move(proc)) {}

  /// Call about once a second. The first one only begins.
  void sample();
  /// Share of the time between the last two samples that the CPU was busy, steal included; 0 where it is not known.
  double busy(unsigned cpu) const { return cpu < busy_.size() ? busy_[cpu] : 0; }
  /// The same of several CPUs, averaged.
  double busy(const CpuSet& cpus) const;
  /// Seconds between the last two samples, by the CPUs' own counters; 0 before there are two.
  double seconds() const { return seconds_; }

 private:
  struct Ticks {
    std::uint64_t busy = 0;
    std::uint64_t all = 0;
  };
  std::string proc_;
  std::vector<Ticks> ticks_;
  std::vector<double> busy_;
  double seconds_ = 0;
};

}  // namespace pvsched
