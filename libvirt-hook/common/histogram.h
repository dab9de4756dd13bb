// SPDX-License-Identifier: GPL-2.0-or-later
// Percentiles of the policy's log2 histograms.
#pragma once

#include <cstdint>
#include <optional>

#include "policy.h"

namespace pvsched {

inline std::uint64_t histogram_count(const __u64 (&buckets)[PVS_HIST_BUCKETS]) {
  std::uint64_t total = 0;
  for (auto n : buckets) total += n;
  return total;
}

/// The delay in nanoseconds below which the share `p` (0..1) of the samples lies, interpolated within its bucket
/// [2^i, 2^(i+1)): right to a factor of two. None where there are no samples.
inline std::optional<double> histogram_percentile(const __u64 (&buckets)[PVS_HIST_BUCKETS], double p) {
  const double wanted = p * static_cast<double>(histogram_count(buckets));
  double seen = 0;
  std::optional<double> result;
  for (int i = 0; i < PVS_HIST_BUCKETS; ++i) {
    const auto here = static_cast<double>(buckets[i]);
    if (here == 0) continue;
    const auto low = static_cast<double>(std::uint64_t{1} << i);
    if (seen + here >= wanted) return low * (1 + (wanted - seen) / here);
    seen += here;
    result = 2 * low;
  }
  return result;
}

}  // namespace pvsched
