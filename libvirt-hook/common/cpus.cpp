// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/cpus.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <charconv>

namespace pvsched {
namespace {

// One number at the front of the text, taken off it.
std::optional<unsigned> take_number(std::string_view& text) {
  unsigned value = 0;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  const auto length = static_cast<std::size_t>(end - text.data());
  if (code != std::errc() || value >= kMaxCpus || (length > 1 && text.front() == '0')) return std::nullopt;
  text.remove_prefix(length);
  return value;
}

}  // namespace

unsigned CpuSet::count() const {
  unsigned sum = 0;
  for (std::uint64_t word : words) sum += static_cast<unsigned>(std::popcount(word));
  return sum;
}

CpuSet CpuSet::operator&(const CpuSet& other) const {
  CpuSet out;
  for (std::size_t i = 0; i < words.size(); ++i) out.words[i] = words[i] & other.words[i];
  return out;
}

std::optional<CpuSet> parse_cpus(std::string_view text) {
  CpuSet out;
  for (;;) {
    auto first = take_number(text);
    if (!first) return std::nullopt;
    auto last = first;
    if (text.starts_with('-')) {
      text.remove_prefix(1);
      last = take_number(text);
      if (!last || *last < *first) return std::nullopt;
    }
    for (unsigned cpu = *first; cpu <= *last; ++cpu) out.add(cpu);
    if (text.empty()) return out;
    if (!text.starts_with(',')) return std::nullopt;
    text.remove_prefix(1);
  }
}

std::string format_cpus(const CpuSet& cpus) {
  std::string out;
  for (unsigned cpu = 0; cpu < kMaxCpus; ++cpu) {
    if (!cpus.has(cpu)) continue;
    unsigned last = cpu;
    while (cpus.has(last + 1)) ++last;
    out += (out.empty() ? "" : ",") + std::to_string(cpu);
    if (last > cpu) out += "-" + std::to_string(last);
    cpu = last;
  }
  return out.empty() ? "none" : out;
}

int get_affinity(pid_t tid, CpuSet& cpus) {
  cpus = CpuSet();
  return syscall(SYS_sched_getaffinity, tid, sizeof(cpus.words), cpus.words.data()) < 0 ? errno : 0;
}

int set_affinity(pid_t tid, const CpuSet& cpus) {
  return syscall(SYS_sched_setaffinity, tid, sizeof(cpus.words), cpus.words.data()) < 0 ? errno : 0;
}

}  // namespace pvsched
