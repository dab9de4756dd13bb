// SPDX-License-Identifier: GPL-2.0-or-later
// The actuator scx in the running kernel: decisions carried out by the scheduler, and what happens when that is not
// had or ends. Where the kernel has no sched_ext only the refusal is tested.
#include <ctime>
#include <fstream>
#include <vector>

#include "common/clock.h"
#include "common/histogram.h"
#include "engine_harness.h"
#include "sched/scx.h"

using namespace pvsched;

namespace {

std::string scheduler_object() {
  return g_paths.bpf_object.substr(0, g_paths.bpf_object.rfind('/')) + "/scheduler.bpf.o";
}
std::string kernel_state() { return scx_kernel_state("/sys"); }

bool without_sched_ext() {
  if (!kernel_state().empty()) return false;
  std::printf("SKIP: this kernel has no sched_ext\n");
  return true;
}

// setattr serves, and that is why.
void check_instead(const Engine& engine, const char* why) {
  STRCMP_EQUAL("setattr", engine.actuator().name.c_str());
  STRCMP_EQUAL("scx", engine.actuator().chosen.c_str());
  STRCMP_CONTAINS(why, engine.actuator().reason.c_str());
}

// Processes on CPU 1 that share a record, until the end.
template <typename Record>
class Together {
 public:
  Together()
      : shared_(static_cast<Record*>(
            mmap(nullptr, sizeof(Record), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {
    CHECK(shared_ != MAP_FAILED);
  }
  ~Together() {
    for (pid_t pid : pids_) {
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
    munmap(shared_, sizeof(Record));
  }
  pid_t start(const std::function<void()>& does) {
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      pin(1);
      does();
      _exit(1);
    }
    pids_.push_back(pid);
    return pid;
  }
  Record* operator->() const { return shared_; }

 private:
  Record* shared_;
  std::vector<pid_t> pids_;
};

// A real-time task that wakes the vCPU while it has the CPU, and a hog, which it has interrupted for that.
class Interruption {
 public:
  Interruption() {
    LONGS_EQUAL(0, pipe(ends_));
    vcpu_ = all_.start([this] {
      for (std::uint64_t then; read(ends_[0], &then, sizeof(then)) == sizeof(then); ++all_->wakes)
        all_->beside += all_->hog - then;
    });
    all_.start([this] {
      for (;;) ++all_->hog;
    });
    const pid_t waker = all_.start([this] {
      for (std::uint64_t now = 0; write(ends_[1], &now, sizeof(now)) == sizeof(now); now = all_->hog) usleep(5000);
    });
    sched_param param{};
    param.sched_priority = 1;
    LONGS_EQUAL(0, sched_setscheduler(waker, SCHED_FIFO, &param));
  }
  ~Interruption() {
    close(ends_[0]);
    close(ends_[1]);
  }
  pid_t vcpu() const { return vcpu_; }
  // How much of what the hog does in all it does while the vCPU waits, over `count` wake-ups.
  double hog_first(std::uint64_t count) {
    const auto wakes = all_->wakes.load(), did = all_->hog.load(), beside = all_->beside.load();
    CHECK(eventually([&] { return all_->wakes.load() >= wakes + count; }));
    return static_cast<double>(all_->beside - beside) / static_cast<double>(all_->hog - did);
  }

 private:
  struct Record {
    std::atomic<std::uint64_t> hog, beside, wakes;
  };
  Together<Record> all_;
  int ends_[2];
  pid_t vcpu_ = -1;
};

// A vCPU that wakes often beside two hogs.
class Turns {
 public:
  Turns() {
    vcpu_ = all_.start([this] {
      for (;; ++all_->wakes) usleep(100);
    });
    for (int hog : {1, 2})
      all_.start([this, hog] {
        for (;;)
          if (all_->last.exchange(hog) != hog) ++all_->changes;
      });
  }
  pid_t vcpu() const { return vcpu_; }
  // How often the other hog goes on after a wake-up, of `count`.
  double change(std::uint64_t count) {
    const auto wakes = all_->wakes.load(), changes = all_->changes.load();
    CHECK(eventually([&] { return all_->wakes.load() >= wakes + count; }));
    return static_cast<double>(all_->changes - changes) / static_cast<double>(all_->wakes - wakes);
  }

 private:
  struct Record {
    std::atomic<std::uint64_t> wakes, changes;
    std::atomic<int> last;
  };
  Together<Record> all_;
  pid_t vcpu_ = -1;
};

struct ScxFixture : public EngineFixture {
  void setup() override {
    scheduler = scheduler_object();
    if (!kernel_state().empty()) EngineFixture::setup();
  }
  void choose() {
    if (auto status = engine->choose_actuator("scx"); !status) FAIL(status.error().text().c_str());
  }
  // A vCPU that is urgent whenever it waits, and is carried out by scx.
  void serve(const Spinner& vcpu) {
    serve(vcpu.pid());
    CHECK(carries_on());
  }
  void serve(pid_t vcpu) {
    choose();
    watch(vcpu);
    STRCMP_EQUAL("", engine->actuator().reason.c_str());
    STRCMP_EQUAL("enabled", kernel_state().c_str());
    *intent = kHardirq;
  }
  std::uint64_t carried_out() { return histogram_count(stats().event_to_applied); }
  bool carries_on() {
    const auto before = carried_out();
    return eventually([&] { return carried_out() > before + 20; });
  }
  double boosted() { return static_cast<double>(stats().boosted_ns[PVSCHED_CLASS_CRITICAL]) / 1e9; }
  static double cpu_seconds(const Spinner& spinner) {
    clockid_t clock;
    timespec had{};
    LONGS_EQUAL(0, clock_getcpuclockid(spinner.pid(), &clock));
    LONGS_EQUAL(0, clock_gettime(clock, &had));
    return static_cast<double>(had.tv_sec) + static_cast<double>(had.tv_nsec) / 1e9;
  }
  // Within the second that is promised.
  static bool boosted_soon(const Spinner& vcpu) {
    const auto end = monotonic_ns() + 1000000000;
    while (monotonic_ns() < end)
      if (attr_of(vcpu.pid()).policy == SCHED_FIFO) return true;
    return false;
  }
};

}  // namespace

TEST_GROUP_BASE(EngineActuator, EngineFixture){};

TEST(EngineActuator, a_kernel_without_it_is_served_by_setattr_and_the_reason_told) {
  if (!kernel_state().empty()) return;
  auto status = engine->choose_actuator("scx");
  CHECK_FALSE(static_cast<bool>(status));
  check_instead(*engine, "this kernel has no sched_ext");
  Spinner vcpu(1), hog(1);
  watch(vcpu);
  *intent = kHardirq;
  CHECK(eventually([&] { return attr_of(vcpu.pid()).policy == SCHED_FIFO; }));
}

TEST(EngineActuator, an_actuator_that_there_is_not_is_refused) {
  auto status = engine->choose_actuator("magic");
  CHECK_FALSE(static_cast<bool>(status));
  STRCMP_EQUAL("actuator 'magic': allowed are setattr and scx", status.error().text().c_str());
  STRCMP_EQUAL("setattr", engine->actuator().chosen.c_str());
}

TEST_GROUP_BASE(EngineScx, ScxFixture){};

TEST(EngineScx, carries_decisions_out_without_a_system_call) {
  if (without_sched_ext()) return;
  Spinner vcpu(1), hog(1);
  serve(vcpu);
  CHECK(eventually([&] { return stats().boosted_ns[PVSCHED_CLASS_CRITICAL] > 10000000; }));
  CHECK(histogram_count(stats().raise_to_run) > 0);
  LONGS_EQUAL(0, stats().applies);
  LONGS_EQUAL(SCHED_OTHER, attr_of(vcpu.pid()).policy);
}

TEST(EngineScx, is_in_force_while_there_is_a_vcpu_again_and_again) {
  if (without_sched_ext()) return;
  Spinner vcpu(1), hog(1);
  for (int turn = 0; turn < 3; ++turn) {
    serve(vcpu);
    engine->remove_vm(vm);
    STRCMP_EQUAL("disabled", kernel_state().c_str());
    STRCMP_EQUAL("scx", engine->actuator().name.c_str());
  }
}

// Beside a hog that has as much weight it has its boosts and half of the rest; were they charged, half of all.
TEST(EngineScx, what_a_vcpu_runs_boosted_is_not_charged) {
  if (without_sched_ext()) return;
  Spinner vcpu(1), hog(1);
  serve(vcpu);
  const auto boosted_before = boosted();
  const double vcpu_before = cpu_seconds(vcpu), hog_before = cpu_seconds(hog);
  CHECK(eventually([&] { return boosted() > boosted_before + 0.12; }));
  const double extra = (cpu_seconds(vcpu) - vcpu_before - (cpu_seconds(hog) - hog_before)) / 2;
  const double by_boosts = (boosted() - boosted_before) / 2;
  std::printf(" %.0f ms more than half, by its boosts %.0f ms ", 1000 * extra, 1000 * by_boosts);
  CHECK(extra > by_boosts / 2);
}

// The hog has begun when the scheduler learns that its turn is over: some microseconds of each 5 ms, and no slice.
TEST(EngineScx, who_wakes_while_a_real_time_task_runs_is_before_what_that_has_interrupted) {
  if (without_sched_ext()) return;
  Interruption interruption;
  serve(interruption.vcpu());
  CHECK(eventually([&] { return stats().boosted_ns[PVSCHED_CLASS_CRITICAL] > 0; }));
  const double part = interruption.hog_first(100);
  std::printf(" %.2f %% of the hog's work is done while the vCPU waits ", 100 * part);
  CHECK(part < 0.04);
}

// It is interrupted several times in a slice. Were it to queue anew each time, the other one would be next.
TEST(EngineScx, what_makes_way_for_a_boosted_vcpu_goes_on_after_it) {
  if (without_sched_ext()) return;
  Turns turns;
  serve(turns.vcpu());
  CHECK(eventually([&] { return stats().boosted_ns[PVSCHED_CLASS_CRITICAL] > 0; }));
  const double part = turns.change(500);
  std::printf(" after %.0f %% of its wake-ups the other hog goes on ", 100 * part);
  CHECK(part < 0.6);
}

TEST(EngineScx, changes_places_with_setattr_while_a_vcpu_runs) {
  if (without_sched_ext()) return;
  Spinner vcpu(1), hog(1);
  serve(vcpu);
  CHECK(static_cast<bool>(engine->choose_actuator("setattr")));
  STRCMP_EQUAL("disabled", kernel_state().c_str());
  CHECK(boosted_soon(vcpu));
  choose();
  CHECK(eventually([&] { return attr_of(vcpu.pid()).policy == SCHED_OTHER; }));
  const auto calls = stats().applies;
  CHECK(carries_on());
  LONGS_EQUAL(calls, stats().applies);
}

TEST(EngineScx, ended_by_the_administrator_setattr_serves_until_asked_again) {
  if (without_sched_ext()) return;
  Spinner vcpu(1), hog(1);
  serve(vcpu);
  std::ofstream("/proc/sysrq-trigger") << 'S';
  CHECK(eventually([&] { return kernel_state() == "disabled"; }));
  CHECK(boosted_soon(vcpu));
  check_instead(*engine, "sysrq");
  engine->watch_actuator();
  check_instead(*engine, "sysrq");
  engine->remove_vm(vm);
  watch(vcpu);
  check_instead(*engine, "sysrq");
  STRCMP_EQUAL("disabled", kernel_state().c_str());
  engine->remove_vm(vm);
  serve(vcpu);
}

TEST(EngineScx, what_an_administrator_has_taken_out_of_its_reach_is_told) {
  if (without_sched_ext()) return;
  Spinner vcpu(1), hog(1);
  serve(vcpu);
  auto foreign = [&] {
    engine->watch_actuator();
    return engine->status(vm)->vcpus[0].foreign;
  };
  CHECK_FALSE(foreign());
  sched_param param{};
  param.sched_priority = 1;
  LONGS_EQUAL(0, sched_setscheduler(vcpu.pid(), SCHED_RR, &param));
  CHECK(foreign());
  param.sched_priority = 0;
  LONGS_EQUAL(0, sched_setscheduler(vcpu.pid(), SCHED_OTHER, &param));
  CHECK_FALSE(foreign());
  CHECK(carries_on());
}

TEST(EngineScx, another_scheduler_is_left_alone) {
  if (without_sched_ext()) return;
  ScxOptions options;
  options.object = scheduler_object();
  auto other = Scx::load(options, {});
  CHECK(static_cast<bool>(other));
  CHECK(static_cast<bool>((*other)->start()));
  choose();
  Spinner vcpu(1), hog(1);
  watch(vcpu);
  check_instead(*engine, "another sched_ext scheduler is loaded");
  CHECK((*other)->state().attached);
  *intent = kHardirq;
  CHECK(boosted_soon(vcpu));
}
