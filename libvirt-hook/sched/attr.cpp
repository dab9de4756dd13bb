// SPDX-License-Identifier: GPL-2.0-or-later
#include "sched/attr.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "common/fd.h"
#include "decide.h"

namespace pvsched {
namespace {

constexpr std::uint64_t kResetOnFork = 0x01;
constexpr std::uint64_t kKeptFlags = 0x07;  // reset on fork, reclaim, overrun: what a thread has, not what a call asks
constexpr std::uint64_t kShortSliceNs = 100000;  // the kernel's least
constexpr std::uint32_t kOther = SCHED_OTHER, kFifo = SCHED_FIFO, kRr = SCHED_RR, kBatch = SCHED_BATCH, kDeadline = 6;

bool is_fair(std::uint32_t policy) { return policy == kOther || policy == kBatch; }
bool is_rt(std::uint32_t policy) { return policy == kFifo || policy == kRr; }

// The slice of a thread that nobody gave one: this process's own, which never asks for one.
std::uint64_t own_slice() {
  SchedAttr attr;
  if (syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0) != 0 || !is_fair(attr.policy)) return 0;
  return attr.runtime;
}

// Reads a small file of a thread into `text`; allocates nothing.
bool read_file(const char* path, char* text, std::size_t size) {
  Fd fd(open(path, O_RDONLY | O_CLOEXEC));
  if (!fd) return false;
  ssize_t got = read(fd.get(), text, size - 1);
  if (got <= 0) return false;
  text[got] = '\0';
  return true;
}

}  // namespace

int get_attr(pid_t tid, SchedAttr& attr) {
  static const std::uint64_t kernels_slice = own_slice();
  attr = SchedAttr{};
  if (syscall(SYS_sched_getattr, tid, &attr, sizeof(attr), 0) != 0) return errno;
  attr.flags &= kKeptFlags;
  if (!is_fair(attr.policy) && attr.policy != kDeadline) attr.runtime = 0;
  if (is_fair(attr.policy) && attr.runtime == kernels_slice) attr.runtime = 0;
  return 0;
}

int set_attr(pid_t tid, const SchedAttr& attr) {
  SchedAttr out = attr;
  out.size = offsetof(SchedAttr, util_min);  // utilisation clamps stay as they are
  return syscall(SYS_sched_setattr, tid, &out, 0) == 0 ? 0 : errno;
}

bool same_attr(const SchedAttr& a, const SchedAttr& b) {
  if (a.policy != b.policy || a.flags != b.flags) return false;
  if (is_rt(a.policy)) return a.priority == b.priority;
  if (a.policy == kDeadline) return a.runtime == b.runtime && a.deadline == b.deadline && a.period == b.period;
  return a.nice == b.nice && (a.runtime == b.runtime || a.runtime == 0 || b.runtime == 0);
}

SchedAttr attr_for(std::uint32_t decision, const SchedAttr& baseline, RtMode mode) {
  SchedAttr boost = baseline;
  if (pvs_decision_class(decision) == PVSCHED_CLASS_BASELINE || baseline.policy == kDeadline) return baseline;
  if (pvs_decision_class(decision) == PVSCHED_CLASS_YIELD) {
    if (!is_fair(baseline.policy) || baseline.nice >= pvs_decision_nice(decision)) return baseline;
    boost.nice = pvs_decision_nice(decision);
    return boost;
  }
  boost.flags = kResetOnFork;  // what the thread starts meanwhile is not boosted
  if (pvs_decision_rt(decision) == 0) {
    if (is_rt(baseline.policy) || (is_fair(baseline.policy) && baseline.nice <= pvs_decision_nice(decision)))
      return baseline;
    boost.policy = kOther;
    boost.nice = pvs_decision_nice(decision);
    return boost;
  }
  if (is_rt(baseline.policy) && baseline.priority >= pvs_decision_rt(decision)) return baseline;
  if (mode == RtMode::kFair) {
    if (is_rt(baseline.policy)) return baseline;
    boost.policy = kOther;
    boost.nice = PVSCHED_NICE_MIN;
    boost.runtime = kShortSliceNs;
    return boost;
  }
  boost.policy = pvs_decision_policy(decision) == PVSCHED_SCHED_RR ? kRr : kFifo;
  boost.priority = pvs_decision_rt(decision);
  boost.nice = 0;
  boost.runtime = 0;
  return boost;
}

std::uint64_t get_timer_slack(pid_t tid) {
  char path[64], text[32];
  std::snprintf(path, sizeof(path), "/proc/%d/timerslack_ns", tid);
  return read_file(path, text, sizeof(text)) ? std::strtoull(text, nullptr, 10) : 0;
}

void set_timer_slack(pid_t tid, std::uint64_t ns) {
  char path[64], text[32];
  std::snprintf(path, sizeof(path), "/proc/%d/timerslack_ns", tid);
  Fd fd(open(path, O_WRONLY | O_CLOEXEC));
  int length = std::snprintf(text, sizeof(text), "%llu", static_cast<unsigned long long>(ns));
  if (fd && write(fd.get(), text, static_cast<std::size_t>(length)) < 0) return;  // the thread is gone
}

std::uint64_t start_time(const char* proc, pid_t tid) {
  char path[256], text[1024];
  std::snprintf(path, sizeof(path), "%s/%d/stat", proc, tid);
  if (!read_file(path, text, sizeof(text))) return 0;
  const char* at = std::strrchr(text, ')');  // the name may hold anything
  if (!at) return 0;
  for (int field = 2; field < 22; ++field) {
    at = std::strchr(at + 1, ' ');
    if (!at) return 0;
  }
  return std::strtoull(at + 1, nullptr, 10);
}

}  // namespace pvsched
