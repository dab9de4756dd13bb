// SPDX-License-Identifier: GPL-2.0-or-later
// What the engine's tests share: a thread of another process plays the vCPU, the areas play the guest.
#pragma once

#include <glib.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "metadata/domain_config.h"
#include "pvsched/abi.h"
#include "sched/attr.h"
#include "sched/baselines.h"
#include "sched/engine.h"

// Last: it redefines operator new.
#include <CppUTest/TestHarness.h>

namespace pvsched {

/// The paths that the test was started with.
struct EnginePaths {
  std::string bpf_object, policies, hostile, guardian, run_dir;
};
inline EnginePaths g_paths;

inline pvs_limits test_limits() {
  pvs_limits limits = default_limits();
  limits.critical_ns = 20000000;  // long enough for a test to see the boost
  return limits;
}

inline constexpr std::uint64_t kValid = static_cast<std::uint64_t>(PVSCHED_INTENT_VALID) << PVSCHED_INTENT_FLAGS_SHIFT;
inline constexpr std::uint64_t kHardirq = kValid | static_cast<std::uint64_t>(PVSCHED_CRITICAL_HARDIRQ)
                                                       << PVSCHED_INTENT_CRITICAL_SHIFT;

inline void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof(set), &set);
}

// Waits until the condition holds; false after five seconds.
inline bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 5000; ++i) {
    if (condition()) return true;
    usleep(1000);
  }
  return false;
}

// A process that plays QEMU: its main thread spins on CPU `cpu`, on demand sleeping or waking this one instead.
class Spinner {
 public:
  explicit Spinner(int cpu) {
    LONGS_EQUAL(0, pipe(ends_));
    shared_ =
        static_cast<std::atomic<int>*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      pin(cpu);
      for (;;) {
        if (shared_->load() == 1) usleep(1000);
        if (shared_->load() == 2) _exit(0);
        if (shared_->load() == 3) {
          for (int spun = 0; spun < kPauses; ++spun) __builtin_ia32_pause();
          if (write(ends_[1], "", 1) != 1) _exit(1);
        }
      }
    }
  }
  ~Spinner() { end(); }
  void sleepy(bool on) { shared_->store(on ? 1 : 0); }
  // Returns when it has woken this thread from sleep `count` times.
  void wake_me(long count) {
    const long end = sleeps() + count;
    shared_->store(3);
    for (char byte; sleeps() < end;) LONGS_EQUAL(1, read(ends_[0], &byte, 1));
    shared_->store(0);
  }
  void end() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
    munmap(shared_, 4096);
    close(ends_[0]);
    close(ends_[1]);
  }
  pid_t pid() const { return pid_; }

 private:
  static constexpr int kPauses = 500;  // between two writes: the reader is asleep again by then
  static long sleeps() {
    rusage usage;
    LONGS_EQUAL(0, getrusage(RUSAGE_THREAD, &usage));
    return usage.ru_nvcsw;
  }

  std::atomic<int>* shared_;
  int ends_[2];
  pid_t pid_;
};

inline SchedAttr attr_of(pid_t tid) {
  SchedAttr attr;
  LONGS_EQUAL(0, get_attr(tid, attr));
  return attr;
}

/// A test with an engine of its own.
struct EngineFixture : public Utest {
  std::unique_ptr<Engine> engine;
  std::string scheduler;  ///< object of the sched_ext scheduler, where a group needs it
  VmId vm = 0;
  std::uint64_t* intent = nullptr;
  const std::uint64_t* state = nullptr;

  void setup() override {
    EngineOptions options;
    options.bpf_object = g_paths.bpf_object;
    options.policies = {g_paths.policies};
    options.guardian = g_paths.guardian;
    options.run_dir = g_paths.run_dir;
    options.scheduler = scheduler;
    auto made = Engine::create(options);
    if (!made) FAIL(made.error().text().c_str());
    engine = made.take();
  }
  void teardown() override {
    engine.reset();
    if (intent) munmap(intent, PVSCHED_PAGE_SIZE);
    if (state) munmap(const_cast<std::uint64_t*>(state), PVSCHED_PAGE_SIZE);
  }
  void watch(const Spinner& spinner, bool areas = true, const char* policy = kDefaultPolicy) {
    watch(spinner.pid(), areas, policy);
  }
  // The main thread of the process `pid` is the vCPU.
  void watch(pid_t pid, bool areas = true, const char* policy = kDefaultPolicy) {
    auto added = engine->add_vm(pid, test_limits(), policy);
    CHECK(static_cast<bool>(added));
    vm = *added;
    VcpuSpec spec;
    spec.tid = pid;
    spec.start_time = start_time("/proc", pid);
    if (auto status = engine->add_vcpu(vm, spec); !status) FAIL(status.error().text().c_str());
    if (!areas) return;
    auto fds = engine->create_areas(vm, 1);
    if (!fds) FAIL(fds.error().text().c_str());
    intent = static_cast<std::uint64_t*>(
        mmap(nullptr, PVSCHED_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fds->guest.get(), 0));
    state =
        static_cast<const std::uint64_t*>(mmap(nullptr, PVSCHED_PAGE_SIZE, PROT_READ, MAP_SHARED, fds->host.get(), 0));
    CHECK(intent != MAP_FAILED);
    CHECK(state != MAP_FAILED);
  }
  void share_placement(bool on) {
    pvs_limits limits = test_limits();
    limits.placement = on ? 1 : 0;
    CHECK(static_cast<bool>(engine->set_limits(vm, limits, kDefaultPolicy)));
  }
  using Take = void (Engine::*)(const std::string&, Engine::PolicyDone);
  // Has the engine take an object, and looks at `meanwhile` until it has.
  Result<PolicyInfo> take(
      Take how, const std::string& path, const std::function<void()>& meanwhile = [] {}) {
    std::optional<Result<PolicyInfo>> taken;
    ((*engine).*how)(path, [&](Result<PolicyInfo> info) { taken.emplace(std::move(info)); });
    while (!taken) {
      meanwhile();
      if (!g_main_context_iteration(nullptr, FALSE)) usleep(100);
    }
    return *taken;
  }
  Result<PolicyInfo> load(const std::string& path) { return take(&Engine::load_policy, path); }
  Result<PolicyInfo> swap(const std::string& path) { return take(&Engine::swap_policy, path); }
  pvs_stats stats() { return engine->status(vm)->vcpus[0].stats; }
};

}  // namespace pvsched
