// SPDX-License-Identifier: GPL-2.0-or-later
// Sets of CPUs: written as "0-3,8", in shared memory as words, for threads by sched_getaffinity and sched_setaffinity.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pvsched {

inline constexpr unsigned kMaxCpus = 1024;

struct CpuSet {
  std::array<std::uint64_t, kMaxCpus / 64> words{};

  bool has(unsigned cpu) const { return cpu < kMaxCpus && ((words[cpu / 64] >> (cpu % 64)) & 1) != 0; }
  void add(unsigned cpu) { words[cpu / 64] |= std::uint64_t{1} << (cpu % 64); }
  unsigned count() const;
  bool empty() const { return count() == 0; }
  bool operator==(const CpuSet&) const = default;
  CpuSet operator&(const CpuSet& other) const;
};

inline constexpr unsigned kBusyDefault = 80;

/// Which CPUs to be on, unless others make them busier than `busy` percent.
struct CpuRule {
  CpuSet prefer;
  unsigned busy = kBusyDefault;
  bool operator==(const CpuRule&) const = default;
};

/// "0-3,8": ranges rise, numbers are below kMaxCpus and without leading zeros. nullopt: it is no such list.
std::optional<CpuSet> parse_cpus(std::string_view text);

/// The shortest list; "none" for the empty set.
std::string format_cpus(const CpuSet& cpus);

/// Returns 0 or an errno. CPUs from kMaxCpus on are not seen.
int get_affinity(pid_t tid, CpuSet& cpus);
int set_affinity(pid_t tid, const CpuSet& cpus);

}  // namespace pvsched
