// SPDX-License-Identifier: GPL-2.0-or-later
// pvsched-guardian: puts vCPU threads back to their baselines when pvschedd cannot.
//
//   pvsched-guardian                  started by pvschedd: descriptor 3 the table, 4 pvschedd's pidfd, 5 an eventfd
//   pvsched-guardian --restore FILE   once, for the service's stop command; exit status 0: all is restored
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "common/clock.h"
#include "sched/baselines.h"

namespace {

using namespace pvsched;

constexpr int kTable = 3, kDaemon = 4, kWake = 5;

int restore_file(const char* path) {
  auto table = Baselines::open(path);
  if (!table) {
    if (table.error().code() == ENOENT) return 0;  // nothing was ever touched, or all was put back
    std::fprintf(stderr, "pvsched-guardian: %s\n", table.error().text().c_str());
    return 1;
  }
  unsigned left = restore_all(**table, true);
  if (left) std::fprintf(stderr, "pvsched-guardian: %u threads could not be restored\n", left);
  return left ? 1 : 0;
}

// pvschedd is gone for good: restore until all is done, then nothing is left to guard.
int restore_after_death(BaselineTable& table) {
  for (int turn = 0; turn < 1000; ++turn) {
    if (restore_all(table, true) == 0) return 0;
    poll(nullptr, 0, 5);
  }
  return 1;
}

// Blocks until the actuator thread is gone; restores if it died. Nobody else touches the threads then.
void* watch_actuator(void* argument) {
  auto& table = *static_cast<BaselineTable*>(argument);
  if (pthread_mutex_lock(&table.alive) == EOWNERDEAD)
    while (restore_all(table, false) != 0) poll(nullptr, 0, 1);
  return nullptr;
}

int guard() {
  auto table = Baselines::from_fd(Fd(kTable));
  if (!table) return 2;
  BaselineTable& baselines = **table;
  flock(kTable, LOCK_EX);  // held while this process may still act on the table
  prctl(PR_SET_NAME, "pvs-guardian");
  for (int sig : {SIGTERM, SIGINT, SIGHUP, SIGPIPE}) signal(sig, SIG_IGN);
  mlockall(MCL_CURRENT | MCL_FUTURE);
  sched_param param{};
  param.sched_priority = 99;
  sched_setscheduler(0, SCHED_FIFO, &param);
  if (FILE* oom = std::fopen("/proc/self/oom_score_adj", "w")) {
    std::fputs("-1000", oom);
    std::fclose(oom);
  }

  std::uint64_t lease_ns = baselines.lease_ms * 1000000ull;
  bool watching = false;
  for (;;) {
    bool active = baselines.active > 0;
    if (active && !watching) {  // from here on the actuator holds its mutex
      pthread_t thread;
      watching = pthread_create(&thread, nullptr, watch_actuator, &baselines) == 0;
    }
    pollfd fds[2] = {{kDaemon, POLLIN, 0}, {kWake, POLLIN, 0}};
    poll(fds, 2, active ? static_cast<int>(baselines.lease_ms / 8) : -1);
    if (fds[0].revents) return restore_after_death(baselines);
    if (fds[1].revents) {
      std::uint64_t drained;
      (void)!read(kWake, &drained, sizeof(drained));
    }
    std::uint64_t beat = baselines.heartbeat_ns, now = monotonic_ns();
    bool late = baselines.active > 0 && now > beat && now - beat > lease_ns;
    if (late) {
      // Each turn, and the fence after it: the actuator may have been stopped half-way, or wake while this works.
      restore_all(baselines, false);
      baselines.fence.fetch_add(1);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "--restore") == 0) return restore_file(argv[2]);
  if (argc != 1) {
    std::fprintf(stderr, "usage: pvsched-guardian [--restore FILE]\n");
    return 2;
  }
  return guard();
}
