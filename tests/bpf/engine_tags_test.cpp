// SPDX-License-Identifier: GPL-2.0-or-later
// Tags in the running kernel: who is counted as wanting a CPU, and what a background vCPU makes of it.
#include "engine_harness.h"
#include "pvsched/policy_interface.h"

using namespace pvsched;

namespace {

bool has_nice(const Spinner& thread, int nice) {
  return eventually([&] { return attr_of(thread.pid()).nice == nice; });
}

}  // namespace

TEST_GROUP_BASE(EngineTags, EngineFixture){// A VM of one vCPU, served by `tagged`.
                                           VmId add(const Spinner& spinner, std::uint32_t tag){
                                               auto added = engine->add_vm(spinner.pid(), test_limits(), "tagged");
CHECK(static_cast<bool>(added));
VcpuSpec spec;
spec.tid = spinner.pid();
spec.start_time = start_time("/proc", spinner.pid());
spec.tag = tag;
if (auto status = engine->add_vcpu(*added, spec); !status) FAIL(status.error().text().c_str());
return *added;
}
bool wanting(unsigned count) {
  return eventually([&] { return engine->foreground() == count; });
}
}
;

TEST(EngineTags, background_gives_way_while_a_foreground_vcpu_wants_a_cpu) {
  Spinner background(1), neighbour(1), foreground(1);
  add(background, PVS_TAG_BACKGROUND);
  VmId fg = add(foreground, PVS_TAG_FOREGROUND);
  CHECK(wanting(1));
  CHECK(has_nice(background, PVSCHED_NICE_MAX));
  engine->set_tag(fg, 0, PVS_TAG_NONE);
  CHECK(wanting(0));
  CHECK(has_nice(background, 0));
}

TEST(EngineTags, a_tag_changes_while_the_vcpu_runs) {
  Spinner vcpu(1), neighbour(1), foreground(1);
  VmId vm_id = add(vcpu, PVS_TAG_NONE);
  add(foreground, PVS_TAG_FOREGROUND);
  CHECK(wanting(1));
  auto events = [&] { return engine->status(vm_id)->vcpus[0].stats.events; };
  const auto before = events();
  CHECK(eventually([&] { return events() > before + 10; }));
  LONGS_EQUAL(0, attr_of(vcpu.pid()).nice);
  engine->set_tag(vm_id, 0, PVS_TAG_BACKGROUND);
  CHECK(has_nice(vcpu, PVSCHED_NICE_MAX));
  engine->set_tag(vm_id, 0, PVS_TAG_OWN_MIN);
  CHECK(has_nice(vcpu, 0));
}

TEST(EngineTags, a_foreground_vcpu_that_wakes_has_the_background_one_before_it_looked_at) {
  Spinner background(1), foreground(1);
  foreground.sleepy(true);
  VmId bg = add(background, PVS_TAG_BACKGROUND);
  add(foreground, PVS_TAG_FOREGROUND);
  CHECK(has_nice(background, PVSCHED_NICE_MAX));
  // Nothing takes it off its CPU but the foreground one: what is looked at more often is looked at for that.
  auto stats_of = [&] { return engine->status(bg)->vcpus[0].stats; };
  const auto before = stats_of();
  CHECK(eventually([&] {
    auto now = stats_of();
    return now.preemptions > before.preemptions + 100;
  }));
  const auto after = stats_of();
  const auto switches = 2 * (after.preemptions - before.preemptions);
  CHECK(after.events - before.events > switches + switches / 4);
}

TEST(EngineTags, a_thread_that_is_no_vcpu_counts_until_it_is_forgotten) {
  Spinner background(1), neighbour(1), service(1);
  add(background, PVS_TAG_BACKGROUND);
  CHECK(static_cast<bool>(engine->count_other(service.pid())));
  CHECK_FALSE(static_cast<bool>(engine->count_other(service.pid())));
  CHECK(wanting(1));
  CHECK(has_nice(background, PVSCHED_NICE_MAX));
  LONGS_EQUAL(0, attr_of(service.pid()).nice);
  engine->forget_other(service.pid());
  LONGS_EQUAL(0, engine->foreground());
  CHECK(has_nice(background, 0));
}

TEST(EngineTags, who_sleeps_or_ends_wants_nothing) {
  Spinner background(1), neighbour(1);
  Spinner vcpu(1), service(1);
  add(background, PVS_TAG_BACKGROUND);
  VmId fg = add(vcpu, PVS_TAG_FOREGROUND);
  CHECK(static_cast<bool>(engine->count_other(service.pid())));
  CHECK(wanting(2));
  kill(vcpu.pid(), SIGSTOP);
  CHECK(wanting(1));
  kill(vcpu.pid(), SIGCONT);
  CHECK(wanting(2));
  vcpu.end();
  CHECK(wanting(1));
  service.end();
  CHECK(wanting(0));
  CHECK(has_nice(background, 0));
  engine->remove_vm(fg);
  engine->forget_other(service.pid());
  LONGS_EQUAL(0, engine->foreground());
}

TEST(EngineTags, counts_outlast_a_swap_and_the_last_vcpu) {
  Spinner background(1), service(1);
  VmId bg = add(background, PVS_TAG_BACKGROUND);
  CHECK(static_cast<bool>(engine->count_other(service.pid())));
  CHECK(wanting(1));
  CHECK(static_cast<bool>(swap(g_paths.policies + "/tagged.bpf.o")));
  CHECK(has_nice(background, PVSCHED_NICE_MAX));
  LONGS_EQUAL(1, engine->foreground());
  engine->remove_vm(bg);  // the programs are detached
  add(background, PVS_TAG_BACKGROUND);
  CHECK(wanting(1));
  CHECK(has_nice(background, PVSCHED_NICE_MAX));
}
