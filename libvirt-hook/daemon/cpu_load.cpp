// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/cpu_load.h"

#include <unistd.h>

#include <algorithm>
#include <sstream>

#include "common/procfs.h"

namespace pvsched {

void CpuLoad::sample() {
  auto text = read_file(proc_ + "/stat");
  if (!text) return;
  std::istringstream in(*text);
  std::vector<Ticks> fresh;
  std::uint64_t longest = 0;
  for (std::string line; std::getline(in, line);) {
    unsigned cpu = 0;
    if (std::sscanf(line.c_str(), "cpu%u ", &cpu) != 1 || cpu >= kMaxCpus) continue;
    // user nice system idle iowait irq softirq steal; guest time is in user's
    std::istringstream fields(line.substr(line.find(' ')));
    std::uint64_t field[8] = {};
    Ticks now;
    for (int i = 0; i < 8 && fields >> field[i]; ++i) now.all += field[i];
    now.busy = now.all - field[3] - field[4];
    if (fresh.size() <= cpu) fresh.resize(cpu + 1);
    fresh[cpu] = now;
  }
  busy_.assign(fresh.size(), 0);
  for (std::size_t cpu = 0; cpu < fresh.size() && cpu < ticks_.size(); ++cpu) {
    if (fresh[cpu].all <= ticks_[cpu].all || ticks_[cpu].all == 0) continue;  // it came or went
    const auto all = fresh[cpu].all - ticks_[cpu].all;
    const auto busy = fresh[cpu].busy > ticks_[cpu].busy ? fresh[cpu].busy - ticks_[cpu].busy : 0;
    busy_[cpu] = std::min(1.0, static_cast<double>(busy) / static_cast<double>(all));
    longest = std::max(longest, all);
  }
  seconds_ = static_cast<double>(longest) / static_cast<double>(sysconf(_SC_CLK_TCK));
  ticks_ = std::move(fresh);
}

double CpuLoad::busy(const CpuSet& cpus) const {
  double sum = 0;
  for (unsigned cpu = 0; cpu < kMaxCpus; ++cpu)
    if (cpus.has(cpu)) sum += busy(cpu);
  const unsigned count = cpus.count();
  return count ? sum / count : 0;
}

}  // namespace pvsched
