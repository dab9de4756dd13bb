// SPDX-License-Identifier: GPL-2.0-or-later
// The engine on the running kernel: real programs, real events, real sched_setattr. A thread of another process plays
// the vCPU; the guest's part is played through the areas. Needs root; exits 77 with the reason where it cannot run.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "decide.h"
#include "engine_harness.h"

// Last: it redefines operator new.
#include <CppUTest/CommandLineTestRunner.h>

using namespace pvsched;

TEST_GROUP_BASE(Engine, EngineFixture){};

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
  share_placement(true);
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

TEST(Engine, says_where_a_vcpu_is_only_if_it_may) {  // R17
  Spinner vcpu(1), hog(1);
  watch(vcpu);
  const volatile std::uint64_t* placement = state + 1;
  auto switched = [&] {
    const __u64 before = stats().preemptions;
    return eventually([&] { return stats().preemptions > before + 2; });
  };
  CHECK(switched());
  UNSIGNED_LONGLONGS_EQUAL(0, *placement);
  for (int round = 0; round < 20; ++round) {
    share_placement(true);
    CHECK(eventually([&] { return *placement != 0; }));
    share_placement(false);
    UNSIGNED_LONGLONGS_EQUAL(0, *placement);  // at once
    CHECK(switched());
    UNSIGNED_LONGLONGS_EQUAL(0, *placement);
  }
}

TEST(Engine, tells_new_areas_where_a_vcpu_is_and_forgets_one_that_goes) {
  Spinner vcpu(1);
  watch(vcpu);
  share_placement(true);
  vcpu.wake_me(10);  // it is never switched off its CPU: its own doings tell
  CHECK(eventually([&] { return state[1] != 0; }));
  auto fds = engine->create_areas(vm, 1);
  CHECK(static_cast<bool>(fds));
  auto* fresh = static_cast<const volatile std::uint64_t*>(
      mmap(nullptr, PVSCHED_PAGE_SIZE, PROT_READ, MAP_SHARED, fds->host.get(), 0));
  CHECK(fresh != MAP_FAILED);
  vcpu.wake_me(10);
  CHECK(eventually([&] { return fresh[1] != 0; }));
  engine->remove_vcpu(vm, 0);
  UNSIGNED_LONGLONGS_EQUAL(0, fresh[0]);
  UNSIGNED_LONGLONGS_EQUAL(0, fresh[1]);
  munmap(const_cast<std::uint64_t*>(fresh), PVSCHED_PAGE_SIZE);
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

TEST(Engine, keeps_a_vcpu_on_preferred_cpus_within_its_own_and_gives_those_back) {
  Spinner vcpu(1);
  auto cpus_of = [&] {
    CpuSet cpus;
    LONGS_EQUAL(0, get_affinity(vcpu.pid(), cpus));
    return format_cpus(cpus);
  };
  CHECK(eventually([&] { return cpus_of() == "1"; }));  // it has pinned itself
  LONGS_EQUAL(0, set_affinity(vcpu.pid(), *parse_cpus("0-1")));
  watch(vcpu, false);
  STRCMP_EQUAL("1", format_cpus(*engine->place(vm, 0, *parse_cpus("1-3"))).c_str());
  STRCMP_EQUAL("1", cpus_of().c_str());
  CHECK(static_cast<bool>(engine->place(vm, 0, *parse_cpus("0"))));
  STRCMP_EQUAL("0", cpus_of().c_str());
  CHECK(static_cast<bool>(engine->place(vm, 0, CpuSet())));
  STRCMP_EQUAL("0-1", cpus_of().c_str());
  CHECK(static_cast<bool>(engine->place(vm, 0, *parse_cpus("1"))));
  LONGS_EQUAL(0, set_affinity(vcpu.pid(), *parse_cpus("0")));  // an administrator's own
  STRCMP_EQUAL("none", format_cpus(*engine->place(vm, 0, *parse_cpus("1"))).c_str());
  STRCMP_EQUAL("0", cpus_of().c_str());
  LONGS_EQUAL(0, set_affinity(vcpu.pid(), *parse_cpus("0-1")));
  CHECK(static_cast<bool>(engine->place(vm, 0, *parse_cpus("1"))));
  engine->remove_vm(vm);
  STRCMP_EQUAL("0-1", cpus_of().c_str());
}

TEST(Engine, gives_another_thread_of_the_vm_a_class_until_the_end) {
  Spinner vcpu(1), thread(1);
  SchedAttr base = attr_of(thread.pid());
  base.nice = 3;
  LONGS_EQUAL(0, set_attr(thread.pid(), base));
  watch(vcpu, false);
  const std::uint64_t start = start_time("/proc", thread.pid());
  const std::uint32_t urgent = pvs_decision(PVSCHED_CLASS_TASK, PVSCHED_SCHED_OTHER, -5, 0);
  CHECK(static_cast<bool>(engine->set_class(vm, thread.pid(), start, urgent)));
  LONGS_EQUAL(-5, attr_of(thread.pid()).nice);
  CHECK(static_cast<bool>(engine->set_class(vm, thread.pid(), start, urgent)));
  CHECK_FALSE(static_cast<bool>(engine->set_class(vm, thread.pid(), start + 1, urgent)));
  LONGS_EQUAL(3, attr_of(thread.pid()).nice);
  CHECK(static_cast<bool>(engine->set_class(vm, thread.pid(), start, urgent)));
  LONGS_EQUAL(0, setpriority(PRIO_PROCESS, static_cast<id_t>(thread.pid()), 11));  // an administrator's own
  CHECK_FALSE(static_cast<bool>(engine->set_class(vm, thread.pid(), start, urgent)));
  engine->remove_vm(vm);
  LONGS_EQUAL(11, attr_of(thread.pid()).nice);
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
  if (argc < 5) {
    std::fprintf(stderr, "usage: engine_test pvsched.bpf.o POLICIES HOSTILE pvsched-guardian [CppUTest options]\n");
    return 2;
  }
  if (geteuid() != 0) {
    std::printf("SKIP: loading BPF programs needs root\n");
    return 77;
  }
  char dir[] = "/tmp/pvsched-engine-test.XXXXXX";
  if (!mkdtemp(dir)) return 2;
  g_paths = {argv[1], argv[2], argv[3], argv[4], dir};
  pin(0);  // the vCPUs are on CPU 1: what looks at one must not stand in its way
  MemoryLeakWarningPlugin::turnOffNewDeleteOverloads();  // it follows one thread: the engine has several
  argv[4] = argv[0];
  int failed = CommandLineTestRunner::RunAllTests(argc - 4, argv + 4);
  rmdir(dir);
  return failed != 0;
}
