// SPDX-License-Identifier: GPL-2.0-or-later
#include "sched/actuator.h"

#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <bit>
#include <cerrno>

#include "common/clock.h"
#include "decide.h"
#include "sched/group_weight.h"
#include "sched/guardian.h"

namespace pvsched {
namespace {

constexpr std::uint32_t kStop = ~0u;

enum Wait : std::uint64_t { kRecords, kCommands, kGuardian };

bool watch(int epoll, int fd, Wait what) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = what;
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

bool yields(std::uint32_t body) { return pvs_decision_class(body) == PVSCHED_CLASS_YIELD; }

void count_delay(__u64* histogram, std::uint64_t ns) {
  unsigned bucket = ns ? static_cast<unsigned>(std::bit_width(ns)) - 1 : 0;
  ++histogram[bucket < PVS_HIST_BUCKETS ? bucket : PVS_HIST_BUCKETS - 1];
}

}  // namespace

Result<std::unique_ptr<Actuator>> Actuator::start(Policy& policy, Baselines& baselines, Guardian& guardian,
                                                  int priority) {
  std::unique_ptr<Actuator> actuator(new Actuator(policy, baselines, guardian));
  // Pages are locked as they are touched: stacks of other threads are not made resident for this.
  if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0) return Error::system("cannot lock pvschedd's memory");
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return Error::system("cannot make the actuator's command socket");
  actuator->command_.reset(ends[0]);
  actuator->command_peer_.reset(ends[1]);
  actuator->epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!actuator->epoll_ || !watch(actuator->epoll_.get(), policy.ring_fd(), kRecords) ||
      !watch(actuator->epoll_.get(), ends[1], kCommands) || !watch(actuator->epoll_.get(), guardian.pidfd(), kGuardian))
    return Error::system("cannot watch the actuator's descriptors");
  Actuator* self = actuator.get();
  policy.on_record([self](unsigned index) { self->apply(index); });
  actuator->thread_ = std::thread([self, priority] {
    pthread_mutex_lock(&self->baselines_->alive);
    self->run(priority);
    pthread_mutex_unlock(&self->baselines_->alive);
  });
  actuator->turn();
  return actuator;
}

Actuator::~Actuator() {
  if (!thread_.joinable()) return;
  std::uint32_t stop = kStop;
  if (send(command_.get(), &stop, sizeof(stop), 0) == sizeof(stop)) thread_.join();
}

Status Actuator::adopt(unsigned index, VmId vm, const VcpuSpec& spec, RtMode mode) {
  BaselineEntry& entry = baselines_->entries[index];
  SchedAttr attr;
  std::string thread = "thread " + std::to_string(spec.tid);
  if (int err = get_attr(spec.tid, attr)) return Error::system(thread, err);
  if (spec.start_time && start_time("/proc", spec.tid) != spec.start_time)
    return Error(thread + " is not the vCPU any more: its TID was used again", ESRCH);
  entry.tid = spec.tid;
  entry.start_time = spec.start_time ? spec.start_time : start_time("/proc", spec.tid);
  entry.baseline = attr;
  entry.timer_slack = get_timer_slack(spec.tid);
  entry.mode = static_cast<std::uint32_t>(mode);
  entry.vm = vm;
  entry.intended = 0;
  entry.previous = 0;
  entry.placed = 0;
  foreign_[index] = false;
  entry.active = 1;
  if (baselines_->active.fetch_add(1) == 0) {
    baselines_->heartbeat_ns = monotonic_ns();
    guardian_.wake();
    turn();  // heartbeats begin
  }
  return {};
}

// Entries in use, in order; `visit` takes the index.
template <typename Visit>
void Actuator::each_active(Visit visit) {
  unsigned left = baselines_->active;
  for (unsigned index = 0; index < PVS_MAX_VCPUS && left > 0; ++index) {
    if (!baselines_->entries[index].active) continue;
    --left;
    visit(index);
  }
}

// Of a VM whose vCPUs all yield, the cgroup too.
void Actuator::weigh(VmId vm) {
  WeightEntry& weight = baselines_->weights[vm];
  if (!weight.active) return;
  unsigned vcpus = 0, yielding = 0;
  each_active([&](unsigned index) {
    const BaselineEntry& entry = baselines_->entries[index];
    if (entry.vm != vm) return;
    ++vcpus;
    yielding += yields(entry.intended) ? 1 : 0;
  });
  (void)set_lowered(weight, vcpus > 0 && yielding == vcpus);
}

void Actuator::release(unsigned index) {
  std::uint32_t word = index;
  if (send(command_.get(), &word, sizeof(word), 0) == sizeof(word)) (void)recv(command_.get(), &word, sizeof(word), 0);
}

void Actuator::turn() { release(PVS_MAX_VCPUS); }

void Actuator::serve_commands() {
  std::uint32_t index;
  if (recv(command_peer_.get(), &index, sizeof(index), MSG_DONTWAIT) != sizeof(index)) return;
  if (index < PVS_MAX_VCPUS && baselines_->entries[index].active) {
    BaselineEntry& entry = baselines_->entries[index];
    restore_thread(entry);
    entry.active = 0;
    baselines_->active.fetch_sub(1);
    weigh(entry.vm);
  }
  (void)send(command_peer_.get(), &index, sizeof(index), MSG_NOSIGNAL);
}

void Actuator::apply(unsigned index) {
  if (index >= PVS_MAX_VCPUS) return;
  BaselineEntry& entry = baselines_->entries[index];
  pvs_mailbox& box = policy_.mailbox(index);
  pvs_stats& stats = policy_.stats(index);
  __atomic_exchange_n(&box.in_flight, 0, __ATOMIC_SEQ_CST);
  std::uint64_t decision = __atomic_load_n(&box.decision, __ATOMIC_ACQUIRE);
  auto body = static_cast<std::uint32_t>(decision);
  if (!entry.active || __atomic_load_n(&box.dead, __ATOMIC_ACQUIRE)) return;

  const bool in_scheduler = policy_.in_scheduler();
  if (guardian_missing_) body = 0;  // nobody would take a boost back if this process died
  if (in_scheduler) body = 0;
  auto mode = static_cast<RtMode>(entry.mode);
  std::uint32_t applied = entry.intended;
  if (body != applied) {
    SchedAttr now;
    if (get_attr(entry.tid, now) != 0) return;  // gone; the policy marks it dead
    bool mine = same_attr(now, attr_for(applied, entry.baseline, mode)) || same_attr(now, entry.baseline);
    bool known = foreign_[index].exchange(!mine, std::memory_order_relaxed);
    if (!mine) {
      stats.foreign += known ? 0 : 1;  // an administrator's own setting wins
      return;
    }
    SchedAttr wanted = attr_for(body, entry.baseline, mode);
    entry.previous = applied;
    entry.intended = body;
    if (!same_attr(now, wanted) && set_attr(entry.tid, wanted) != 0) {
      ++stats.apply_fails;
      entry.intended = applied;
      return;
    }
    ++stats.applies;
    if (yields(applied) != yields(body)) weigh(entry.vm);
  }
  if (in_scheduler) return;
  std::uint64_t done = monotonic_ns();
  const bool news = box.applied != decision;  // the scheduler, which has ended, may have carried it out long ago
  box.applied_at = done;
  __atomic_store_n(&box.applied, (decision & ~PVS_DECISION_BODY) | body, __ATOMIC_RELEASE);
  if (news && body != applied && body == static_cast<std::uint32_t>(decision))
    count_delay(stats.event_to_applied, done > box.decided_at ? done - box.decided_at : 0);
}

void Actuator::resync() {
  // The guardian took boosts back behind us (stopped for longer than the lease), all or some: start from baselines.
  fence_ = baselines_->fence;
  each_active([this](unsigned index) {
    BaselineEntry& entry = baselines_->entries[index];
    restore_thread(entry);
    entry.previous = 0;
    entry.intended = 0;
    apply(index);
  });
  each_active([this](unsigned index) { weigh(baselines_->entries[index].vm); });
}

void Actuator::look_again() {
  // What a full ring, a failed call or a foreign setting has left undone; also what was held back without a guardian.
  last_look_ = monotonic_ns();
  if (guardian_missing_ && guardian_.respawn()) {
    guardian_missing_ = false;
    watch(epoll_.get(), guardian_.pidfd(), kGuardian);
  }
  each_active([this](unsigned index) {
    const auto decision =
        static_cast<std::uint32_t>(__atomic_load_n(&policy_.mailbox(index).decision, __ATOMIC_ACQUIRE));
    if ((in_scheduler_ ? 0 : decision) != baselines_->entries[index].intended) apply(index);
  });
}

void Actuator::look_for_foreign() {
  each_active([this](unsigned index) {
    const BaselineEntry& entry = baselines_->entries[index];
    SchedAttr now;
    if (entry.intended == 0 && get_attr(entry.tid, now) == 0) foreign_[index] = !same_attr(now, entry.baseline);
  });
}

// The scheduler has come or gone: by us, or ended by the kernel.
void Actuator::follow_scheduler() {
  const bool now = policy_.in_scheduler();
  if (now == in_scheduler_) return;
  in_scheduler_ = now;
  each_active([this](unsigned index) { apply(index); });
}

void Actuator::run(int priority) {
  pthread_setname_np(pthread_self(), "pvs-actuator");
  sched_param param{};
  param.sched_priority = priority;
  realtime_ = sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param) == 0;
  if (!realtime_) setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), -20);

  for (;;) {
    bool busy = baselines_->active > 0 || guardian_missing_;
    int turn_ms = static_cast<int>(baselines_->lease_ms / 4);
    epoll_event events[3];
    int n = epoll_wait(epoll_.get(), events, 3, busy ? turn_ms : -1);
    baselines_->heartbeat_ns.store(monotonic_ns(), std::memory_order_relaxed);
    if (baselines_->fence != fence_) resync();
    follow_scheduler();
    if (busy && monotonic_ns() - last_look_ >= turn_ms * 1000000ull) look_again();
    for (int i = 0; i < n; ++i) {
      switch (static_cast<Wait>(events[i].data.u64)) {
        case kRecords:
          policy_.consume();
          break;
        case kCommands: {
          std::uint32_t peek = 0;
          ssize_t got = recv(command_peer_.get(), &peek, sizeof(peek), MSG_PEEK | MSG_DONTWAIT);
          if (got == 0 || (got == sizeof(peek) && peek == kStop)) return;
          serve_commands();
          break;
        }
        case kGuardian:
          // The next look starts another, not this turn: one that ends at once must not make this a busy loop.
          epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, guardian_.pidfd(), nullptr);
          guardian_missing_ = true;
          each_active([this](unsigned index) { apply(index); });
          break;
      }
    }
  }
}

}  // namespace pvsched
