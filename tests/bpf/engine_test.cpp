// SPDX-License-Identifier: GPL-2.0-or-later
// The engine on the running kernel: real programs, real events, real sched_setattr. A thread of this process plays
// the vCPU; the guest's part is played through the areas. Needs root; exits 77 with the reason where it cannot run.
#include "sched/engine.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <thread>
#include <vector>

#include "decide.h"
#include "metadata/domain_config.h"
#include "pvsched/abi.h"
#include "sched/attr.h"
#include "sched/baselines.h"

// Last: it redefines operator new.
#include <CppUTest/CommandLineTestRunner.h>
#include <CppUTest/TestHarness.h>

using namespace pvsched;

namespace {

std::string g_bpf_object, g_guardian, g_run_dir;

pvs_limits test_limits() {
  pvs_limits limits = default_limits();
  limits.critical_ns = 20000000;  // long enough for a test to see the boost
  return limits;
}

constexpr std::uint64_t kValid = static_cast<std::uint64_t>(PVSCHED_INTENT_VALID) << PVSCHED_INTENT_FLAGS_SHIFT;
constexpr std::uint64_t kHardirq = kValid | static_cast<std::uint64_t>(PVSCHED_CRITICAL_HARDIRQ)
                                                << PVSCHED_INTENT_CRITICAL_SHIFT;

void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof(set), &set);
}

// Waits until the condition holds; false after five seconds.
bool eventually(const std::function<bool()>& condition) {
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

SchedAttr attr_of(pid_t tid) {
  SchedAttr attr;
  LONGS_EQUAL(0, get_attr(tid, attr));
  return attr;
}

}  // namespace

TEST_GROUP(Engine) {
  std::unique_ptr<Engine> engine;
  VmId vm = 0;
  std::uint64_t* intent = nullptr;
  const std::uint64_t* state = nullptr;

  void setup() override {
    EngineOptions options;
    options.bpf_object = g_bpf_object;
    options.guardian = g_guardian;
    options.run_dir = g_run_dir;
    auto made = Engine::create(options);
    if (!made) FAIL(made.error().text().c_str());
    engine = made.take();
  }
  void teardown() override {
    engine.reset();
    if (intent) munmap(intent, PVSCHED_PAGE_SIZE);
    if (state) munmap(const_cast<std::uint64_t*>(state), PVSCHED_PAGE_SIZE);
  }
  void watch(const Spinner& spinner, bool areas = true) {
    auto added = engine->add_vm(spinner.pid(), test_limits());
    CHECK(static_cast<bool>(added));
    vm = *added;
    VcpuSpec spec;
    spec.tid = spinner.pid();
    spec.start_time = start_time("/proc", spinner.pid());
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
  pvs_stats stats() { return engine->status(vm)->vcpus[0].stats; }
};

TEST(Engine, boosts_a_preempted_vcpu_in_a_critical_section_and_takes_it_back) {
  Spinner vcpu(1), hog(1);
  watch(vcpu);
  *intent = kHardirq;
  CHECK(eventually([&] { return attr_of(vcpu.pid()).policy == SCHED_FIFO; }));
  LONGS_EQUAL(PVS_RT_CRITICAL_DEFAULT, attr_of(vcpu.pid()).priority);
  LONGS_EQUAL(PVSCHED_CLASS_CRITICAL, *state & 0xff);
  *intent = kValid;  // the budget's deadline or the next event takes it back
  CHECK(eventually([&] { return attr_of(vcpu.pid()).policy == SCHED_OTHER; }));
  CHECK(eventually([&] { return (*state & 0xff) == PVSCHED_CLASS_BASELINE; }));
}

TEST(Engine, throttles_a_rogue_guest_and_says_so) {
  Spinner vcpu(1), hog(1);
  watch(vcpu);
  *intent = kHardirq;
  std::vector<double> each;  // what was boosted before each throttle; the least, as a CPU may be taken away meanwhile
  pvs_stats last = stats();
  while (each.size() < 7) {
    pvs_stats now{};
    CHECK(eventually([&] { return (now = stats()).critical_throttles > last.critical_throttles; }));
    each.push_back(
        static_cast<double>(now.boosted_ns[PVSCHED_CLASS_CRITICAL] - last.boosted_ns[PVSCHED_CLASS_CRITICAL]) /
        static_cast<double>(now.critical_throttles - last.critical_throttles));
    last = now;
  }
  CHECK(*std::min_element(each.begin(), each.end()) < 1.2 * static_cast<double>(test_limits().critical_ns));
  CHECK(eventually([&] { return (*state >> PVSCHED_STATE_FLAGS_SHIFT) & PVSCHED_STATE_CRITICAL_THROTTLED; }));
}

TEST(Engine, boosts_a_sleeper_without_driver) {
  Spinner vcpu(1), hog(1);
  vcpu.sleepy(true);
  watch(vcpu, false);
  CHECK(eventually([&] { return attr_of(vcpu.pid()).policy == SCHED_FIFO; }));
  engine->set_enabled(false);
  CHECK(eventually([&] { return attr_of(vcpu.pid()).policy == SCHED_OTHER; }));
}

TEST(Engine, counts_a_bad_word_and_selects_the_baseline) {
  Spinner vcpu(1), hog(1);
  watch(vcpu);
  *intent = kHardirq | 0x7full << PVSCHED_INTENT_CUR_RT_SHIFT;  // OTHER with a real-time priority
  CHECK(eventually([&] { return stats().bad_intents > 0; }));
  __u64 before = stats().boosts[PVSCHED_CLASS_CRITICAL];  // of a sleep before the word was written
  CHECK(eventually([&] { return stats().bad_intents > 10; }));
  UNSIGNED_LONGS_EQUAL(before, stats().boosts[PVSCHED_CLASS_CRITICAL]);
}

TEST(Engine, evaluates_a_word_once_and_a_new_one_at_the_next_event) {
  Spinner vcpu(1);
  watch(vcpu);
  *intent = kValid;
  vcpu.wake_me(10);
  __u64 before = stats().events;
  vcpu.wake_me(5000);  // each wake-up of another thread is an event of the one that runs
  CHECK(stats().events - before < 2500);
  *intent = kHardirq | 0x7full << PVSCHED_INTENT_CUR_RT_SHIFT;  // a bad one
  CHECK(eventually([&] {
    vcpu.wake_me(100);  // some of them may have been written before
    return stats().bad_intents > 0;
  }));
}

TEST(Engine, says_where_a_vcpu_is) {  // R11
  Spinner vcpu(1);
  watch(vcpu);
  const std::uint64_t* placement = state + 1;
  auto is = [&](std::uint64_t flag) {
    constexpr std::uint64_t kCpu = 0xffff;
    std::uint64_t word = *static_cast<const volatile std::uint64_t*>(placement);
    std::uint64_t flags = word >> PVSCHED_PLACEMENT_FLAGS_SHIFT;
    return flags == (flag | PVSCHED_PLACEMENT_VALID) && (word & kCpu) == 1;
  };
  CHECK(eventually([&] { return is(PVSCHED_PLACEMENT_RUNNING); }));
  vcpu.sleepy(true);
  CHECK(eventually([&] { return is(PVSCHED_PLACEMENT_HALTED); }));
  vcpu.sleepy(false);
  Spinner hog(1);
  CHECK(eventually([&] { return is(PVSCHED_PLACEMENT_PREEMPTED); }));
}

TEST(Engine, restores_the_exact_baseline) {
  Spinner vcpu(1), hog(1);
  SchedAttr base = attr_of(vcpu.pid());
  base.nice = 7;
  base.policy = SCHED_BATCH;
  LONGS_EQUAL(0, set_attr(vcpu.pid(), base));
  watch(vcpu);
  *intent = kHardirq;
  CHECK(eventually([&] { return attr_of(vcpu.pid()).policy == SCHED_FIFO; }));
  engine->remove_vm(vm);
  CHECK(same_attr(base, attr_of(vcpu.pid())));
}

TEST(Engine, leaves_an_administrators_setting_alone) {
  Spinner vcpu(1), hog(1);
  watch(vcpu);
  sched_param param{};
  param.sched_priority = 3;
  LONGS_EQUAL(0, sched_setscheduler(vcpu.pid(), SCHED_RR, &param));
  *intent = kHardirq;
  usleep(1000);
  vcpu.sleepy(true);
  CHECK(eventually([&] { return stats().foreign > 0; }));
  LONGS_EQUAL(SCHED_RR, attr_of(vcpu.pid()).policy);
  engine->remove_vm(vm);
  LONGS_EQUAL(3, attr_of(vcpu.pid()).priority);
}

TEST(Engine, survives_the_thread) {
  Spinner vcpu(1), hog(1);
  watch(vcpu);
  *intent = kHardirq;
  CHECK(eventually([&] { return stats().boosts[PVSCHED_CLASS_CRITICAL] > 0; }));
  vcpu.end();
  CHECK(eventually([&] { return !engine->status(vm)->vcpus[0].alive; }));
  engine->remove_vm(vm);
}

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: engine_test pvsched.bpf.o pvsched-guardian [CppUTest options]\n");
    return 2;
  }
  if (geteuid() != 0) {
    std::printf("SKIP: loading BPF programs needs root\n");
    return 77;
  }
  g_bpf_object = argv[1];
  g_guardian = argv[2];
  char dir[] = "/tmp/pvsched-engine-test.XXXXXX";
  if (!mkdtemp(dir)) return 2;
  g_run_dir = dir;
  argv[2] = argv[0];
  int failed = CommandLineTestRunner::RunAllTests(argc - 2, argv + 2);
  rmdir(dir);
  return failed != 0;
}
