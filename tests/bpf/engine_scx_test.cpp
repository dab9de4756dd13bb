// SPDX-License-Identifier: GPL-2.0-or-later
// The actuator scx in the running kernel: decisions carried out by the scheduler, and what happens when that is not
// had or ends. Where the kernel has no sched_ext only the refusal is tested.
#include <fstream>

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
    choose();
    watch(vcpu);
    STRCMP_EQUAL("", engine->actuator().reason.c_str());
    STRCMP_EQUAL("enabled", kernel_state().c_str());
    *intent = kHardirq;
    CHECK(carries_on());
  }
  std::uint64_t carried_out() { return histogram_count(stats().event_to_applied); }
  bool carries_on() {
    const auto before = carried_out();
    return eventually([&] { return carried_out() > before + 20; });
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
