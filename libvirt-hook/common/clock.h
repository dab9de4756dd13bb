// SPDX-License-Identifier: GPL-2.0-or-later
// The clock that policy, actuator and guardian share.
#pragma once

#include <cstdint>
#include <ctime>

namespace pvsched {

/// CLOCK_MONOTONIC in ns.
inline std::uint64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1000000000ull + static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace pvsched
