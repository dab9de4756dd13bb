// SPDX-License-Identifier: GPL-2.0-or-later
#include "sched/baselines.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "common/clock.h"
#include "sched/affinity.h"
#include "sched/group_weight.h"
#include "sched/rt_group.h"

namespace pvsched {

Result<Baselines> Baselines::create(const std::string& path, unsigned lease_ms) {
  // A new inode: an old guardian may still have the old table mapped.
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return Error::system("cannot replace " + path);
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return Error::system("cannot create " + path);
  if (ftruncate(fd.get(), sizeof(BaselineTable)) != 0) return Error::system("cannot size " + path);
  void* at = mmap(nullptr, sizeof(BaselineTable), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (at == MAP_FAILED) return Error::system("cannot map " + path);
  auto* table = static_cast<BaselineTable*>(at);
  table->size = sizeof(BaselineTable);
  table->lease_ms = lease_ms;
  table->heartbeat_ns = monotonic_ns();
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&table->alive, &attributes);
  pthread_mutexattr_destroy(&attributes);
  table->magic = kBaselinesMagic;
  return Baselines(std::move(fd), table);
}

Result<Baselines> Baselines::open(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return Error::system("cannot open " + path);
  auto table = from_fd(std::move(fd));
  return table ? std::move(table) : table.error().in(path);
}

Result<Baselines> Baselines::from_fd(Fd fd) {
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) return Error::system("cannot look at the table of baselines");
  if (static_cast<std::size_t>(info.st_size) != sizeof(BaselineTable))
    return Error("the table of baselines is of another version");
  void* at = mmap(nullptr, sizeof(BaselineTable), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (at == MAP_FAILED) return Error::system("cannot map the table of baselines");
  Baselines table(std::move(fd), static_cast<BaselineTable*>(at));
  if (table->magic != kBaselinesMagic || table->size != sizeof(BaselineTable))
    return Error("the table of baselines is of another version");
  return table;
}

Baselines::Baselines(Baselines&& other) noexcept
    : fd_(std::move(other.fd_)), table_(std::exchange(other.table_, nullptr)) {}

Baselines& Baselines::operator=(Baselines&& other) noexcept {
  if (this != &other) {
    if (table_) munmap(table_, sizeof(BaselineTable));
    fd_ = std::move(other.fd_);
    table_ = std::exchange(other.table_, nullptr);
  }
  return *this;
}

Baselines::~Baselines() {
  if (table_) munmap(table_, sizeof(BaselineTable));
}

Status note_baseline(BaselineEntry& entry, pid_t tid, std::uint64_t start, RtMode mode) {
  const std::string thread = "thread " + std::to_string(tid);
  SchedAttr attr;
  if (int err = get_attr(tid, attr)) return Error::system(thread, err);
  const std::uint64_t now = start_time("/proc", tid);
  if (now == 0 || (start && now != start)) return Error(thread + " is another by now: its TID was used again", ESRCH);
  entry.tid = tid;
  entry.start_time = now;
  entry.baseline = attr;
  entry.timer_slack = get_timer_slack(tid);
  entry.mode = static_cast<std::uint32_t>(mode);
  entry.intended = 0;
  entry.previous = 0;
  entry.placed = 0;
  entry.active = 1;
  return {};
}

Status give_class(BaselineEntry& entry, std::uint32_t body) {
  const std::string thread = "thread " + std::to_string(entry.tid);
  const auto mode = static_cast<RtMode>(entry.mode);
  const SchedAttr wanted = attr_for(body, entry.baseline, mode);
  const std::uint32_t before = entry.intended;
  SchedAttr now;
  if (int err = get_attr(entry.tid, now)) return Error::system(thread, err);
  if (!same_attr(now, entry.baseline) && !same_attr(now, attr_for(before, entry.baseline, mode)))
    return Error(thread + " was changed by somebody else, and is left alone", EBUSY);
  entry.previous = before;
  entry.intended = body;
  if (same_attr(now, wanted)) return {};
  const int err = set_attr(entry.tid, wanted);
  if (err == 0) return {};
  entry.intended = before;
  return Error::system(thread, err);
}

bool restore_thread(const BaselineEntry& entry) {
  SchedAttr now;
  if (get_attr(entry.tid, now) != 0) return true;  // gone
  if (start_time("/proc", entry.tid) != entry.start_time) return true;
  bool placed = !restore_affinity(entry);
  auto mode = static_cast<RtMode>(entry.mode);
  bool ours = same_attr(now, attr_for(entry.intended, entry.baseline, mode)) ||
              same_attr(now, attr_for(entry.previous, entry.baseline, mode));
  if (same_attr(now, entry.baseline)) ours = false;
  if (ours && set_attr(entry.tid, entry.baseline) != 0) return false;
  if (entry.timer_slack && get_timer_slack(entry.tid) != entry.timer_slack)
    set_timer_slack(entry.tid, entry.timer_slack);
  return !placed;
}

unsigned restore_all(BaselineTable& table, bool with_funds) {
  unsigned left = 0;
  for (auto& entry : table.entries)
    if (entry.active && !restore_thread(entry)) ++left;
  for (auto& entry : table.classed)
    if (entry.active && !restore_thread(entry)) ++left;
  for (auto& weight : table.weights)
    if (!set_lowered(weight, false)) ++left;
  if (with_funds && left == 0)
    for (int i = kMaxFunds - 1; i >= 0; --i)  // children before parents
      if (table.funds[i].active && !give_back(table.funds[i])) ++left;
  return left;
}

}  // namespace pvsched
