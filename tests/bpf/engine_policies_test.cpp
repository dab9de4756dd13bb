// SPDX-License-Identifier: GPL-2.0-or-later
// Policies in the running kernel: chosen per VM, swapped while vCPUs run, hostile ones refused or contained.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/procfs.h"
#include "decide.h"
#include "engine_harness.h"

using namespace pvsched;

namespace {

std::string built(const char* name) { return g_paths.policies + "/" + name + ".bpf.o"; }
std::string hostile(const char* name) { return g_paths.hostile + "/" + name + ".bpf.o"; }

// How often the thread was taken off a CPU, as the kernel counts.
std::uint64_t switches(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  std::uint64_t sum = 0;
  for (std::string line; std::getline(status, line);)
    if (line.find("_ctxt_switches:") != std::string::npos) sum += std::stoull(line.substr(line.find(':') + 1));
  return sum;
}

// The longest time in which a count stands still, looked at from outside.
class Gaps {
 public:
  /// Begins anew: what was before does not count.
  void rest(std::uint64_t count) {
    count_ = count;
    since_ = monotonic_ns();
  }
  void look(std::uint64_t count) {
    longest_ = std::max(longest_, monotonic_ns() - since_);
    if (count != count_) rest(count);
  }
  double longest_ms() const { return static_cast<double>(longest_) / 1e6; }

 private:
  std::uint64_t count_ = 0, since_ = 0, longest_ = 0;
};

char state_of(pid_t pid) {
  auto stat = read_file("/proc/" + std::to_string(pid) + "/stat", 4096);
  return stat ? (*stat)[stat->rfind(')') + 2] : '?';
}

}  // namespace

TEST_GROUP_BASE(EnginePolicies, EngineFixture){
    // Counts of the kernel and of the policy, while the thread is held still.
    std::pair<std::uint64_t, std::uint64_t> counts(const Spinner& vcpu){kill(vcpu.pid(), SIGSTOP);
CHECK(eventually([&] { return state_of(vcpu.pid()) == 'T'; }));
auto out = std::make_pair(switches(vcpu.pid()), std::uint64_t{stats().preemptions + stats().halts});
kill(vcpu.pid(), SIGCONT);
return out;
}
}
;

TEST(EnginePolicies, the_librarys_are_loaded_and_none_other_can_be_chosen) {
  std::string names;
  for (const auto& info : engine->policies()) names += info.name + (info.refused.empty() ? " " : " refused ");
  STRCMP_EQUAL("latency agentless audio batch mirror tagged ", names.c_str());
  Spinner vcpu(1);
  auto vm_id = engine->add_vm(vcpu.pid(), test_limits(), "nosuch");
  CHECK_FALSE(static_cast<bool>(vm_id));
  STRCMP_EQUAL("policy 'nosuch' is not loaded", vm_id.error().text().c_str());
}

TEST(EnginePolicies, there_is_no_engine_without_the_default) {
  EngineOptions options;
  options.bpf_object = g_paths.bpf_object;
  options.policies = {"/nowhere"};
  options.guardian = g_paths.guardian;
  options.run_dir = g_paths.run_dir;
  engine.reset();
  auto made = Engine::create(options);
  CHECK_FALSE(static_cast<bool>(made));
  STRCMP_EQUAL("the default policy 'latency' is in none of the policies' folders", made.error().text().c_str());
}

TEST(EnginePolicies, a_vm_changes_its_policy_while_it_runs) {
  Spinner vcpu(1), hog(1);
  watch(vcpu, true, "batch");
  *intent = kHardirq;
  CHECK(eventually([&] { return attr_of(vcpu.pid()).nice == PVSCHED_NICE_MAX; }));
  CHECK(static_cast<bool>(engine->set_limits(vm, test_limits(), "mirror")));
  CHECK(eventually([&] { return attr_of(vcpu.pid()).nice == 0; }));
  LONGS_EQUAL(0, stats().boosts[PVSCHED_CLASS_CRITICAL]);
  CHECK(static_cast<bool>(engine->set_limits(vm, test_limits(), "latency")));
  CHECK(eventually([&] { return attr_of(vcpu.pid()).policy == SCHED_FIFO; }));
}

// PVSCHED_SWAPS=1000 is the long form.
TEST(EnginePolicies, a_swap_loses_no_event_and_leaves_no_boost_over) {
  const char* wanted = std::getenv("PVSCHED_SWAPS");
  const int swaps = wanted ? std::atoi(wanted) : 10;
  Spinner vcpu(1), hog(1);
  watch(vcpu);
  *intent = kHardirq;
  vcpu.sleepy(true);  // many switches: each is one to be lost, or to be counted twice
  CHECK(eventually([&] { return stats().halts > 0; }));
  Gaps between, during;
  auto before = counts(vcpu);
  auto began = monotonic_ns();
  for (int i = 0; i < swaps; ++i) {
    during.rest(stats().events);
    auto info = take(&Engine::swap_policy, built("latency"), [&] { during.look(stats().events); });
    if (!info) FAIL(info.error().text().c_str());
    between.rest(stats().events);
    for (auto end = monotonic_ns() + 20000000; monotonic_ns() < end;) between.look(stats().events);
  }
  auto took = monotonic_ns() - began;
  auto after = counts(vcpu);
  std::uint64_t kernels = after.first - before.first, ours = after.second - before.second;
  std::printf(
      "%d swaps in %.1f s: the kernel counts %llu switches of the vCPU, the policy %llu; longest time without a "
      "decision taken %.1f ms while swapping, %.1f ms between\n",
      swaps, static_cast<double>(took) / 1e9, static_cast<unsigned long long>(kernels),
      static_cast<unsigned long long>(ours), during.longest_ms(), between.longest_ms());
  CHECK(kernels > 10);
  CHECK(ours >= kernels);
  CHECK(ours <= kernels + static_cast<std::uint64_t>(swaps));  // one that is on its way at a swap may be seen by both
  *intent = kValid;
  CHECK(eventually([&] { return attr_of(vcpu.pid()).policy == SCHED_OTHER; }));
}

TEST(EnginePolicies, the_main_thread_goes_on_while_one_is_verified) {
  Spinner vcpu(1), hog(1);
  watch(vcpu);
  int turns = 0;
  auto info = take(&Engine::swap_policy, built("latency"), [&] {
    CHECK(static_cast<bool>(engine->set_limits(vm, test_limits(), ++turns % 2 ? "mirror" : "latency")));
  });
  if (!info) FAIL(info.error().text().c_str());
  CHECK(turns > 1);
}

TEST(EnginePolicies, the_first_vcpu_may_come_and_the_last_go_while_one_is_verified) {
  Spinner vcpu(1), hog(1);
  bool once = false;
  auto info = take(&Engine::swap_policy, built("latency"), [&] {
    if (!std::exchange(once, true)) watch(vcpu);
  });
  if (!info) FAIL(info.error().text().c_str());
  *intent = kHardirq;
  CHECK(eventually([&] { return attr_of(vcpu.pid()).policy == SCHED_FIFO; }));
  info = take(&Engine::swap_policy, built("latency"), [&] {
    if (std::exchange(once, false)) engine->remove_vm(vm);
  });
  if (!info) FAIL(info.error().text().c_str());
  LONGS_EQUAL(SCHED_OTHER, attr_of(vcpu.pid()).policy);
}

TEST(EnginePolicies, changes_are_made_one_after_another) {
  std::string done;
  engine->load_policy(hostile("greedy"),
                      [&](const Result<PolicyInfo>& info) { done += info ? "loaded " : "refused "; });
  engine->load_policy(hostile("greedy"),
                      [&](const Result<PolicyInfo>& info) { done += info ? "loaded " : "refused "; });
  STRCMP_EQUAL("", done.c_str());
  CHECK(static_cast<bool>(swap(hostile("greedy"))));
  STRCMP_EQUAL("loaded refused ", done.c_str());
}

TEST(EnginePolicies, an_engine_that_goes_leaves_what_is_under_way) {
  bool called = false;
  engine->load_policy(hostile("greedy"), [&](const Result<PolicyInfo>&) { called = true; });
  engine.reset();
  while (g_main_context_iteration(nullptr, FALSE)) continue;
  CHECK_FALSE(called);
}

TEST(EnginePolicies, what_the_verifier_refuses_changes_nothing) {
  Spinner vcpu(1), hog(1);
  watch(vcpu);
  *intent = kHardirq;
  const std::pair<const char*, const char*> refused[] = {{"endless", "infinite loop detected"},
                                                         {"beyond", "unbounded memory access"}};
  for (auto [name, why] : refused) {
    auto info = load(hostile(name));
    CHECK_FALSE(static_cast<bool>(info));
    STRCMP_CONTAINS("the kernel refused it: ", info.error().text().c_str());
    STRCMP_CONTAINS(why, info.error().text().c_str());
  }
  LONGS_EQUAL(6, engine->policies().size());
  CHECK(eventually([&] { return attr_of(vcpu.pid()).policy == SCHED_FIFO; }));
}

TEST(EnginePolicies, verifying_puts_nothing_in_force) {
  auto info = take(&Engine::verify_policy, hostile("greedy"));
  if (!info) FAIL(info.error().text().c_str());
  STRCMP_EQUAL("greedy", info->name.c_str());
  LONGS_EQUAL(6, engine->policies().size());
}

TEST(EnginePolicies, budgets_contain_one_that_is_never_at_the_baseline) {
  if (auto info = load(hostile("greedy")); !info) FAIL(info.error().text().c_str());
  Spinner vcpu(1), hog(1);
  watch(vcpu, true, "greedy");
  CHECK(eventually([&] { return attr_of(vcpu.pid()).policy == SCHED_FIFO; }));
  CHECK(eventually([&] { return stats().critical_throttles > 2; }));
  CHECK(eventually([&] { return attr_of(vcpu.pid()).policy == SCHED_OTHER; }));
}

TEST(EnginePolicies, a_wish_that_no_class_has_is_counted_and_gives_the_baseline) {
  if (auto info = load(hostile("nonsense")); !info) FAIL(info.error().text().c_str());
  Spinner vcpu(1), hog(1);
  watch(vcpu, true, "nonsense");
  *intent = kHardirq;
  CHECK(eventually([&] { return stats().refused_wishes > 10; }));
  LONGS_EQUAL(0, stats().decisions);
  LONGS_EQUAL(SCHED_OTHER, attr_of(vcpu.pid()).policy);
}

TEST(EnginePolicies, one_that_misbehaves_is_stopped_until_it_is_loaded_again) {
  if (auto info = load(hostile("nonsense")); !info) FAIL(info.error().text().c_str());
  Spinner vcpu(1), hog(1);
  watch(vcpu, true, "nonsense");
  *intent = kHardirq;
  std::vector<std::string> said;
  vcpu.sleepy(true);  // many events
  CHECK(eventually([&] { return !(said = engine->stop_misbehaving()).empty(); }));
  vcpu.sleepy(false);
  LONGS_EQUAL(1, said.size());
  CHECK(said[0].find("policy 'nonsense' was stopped: ") == 0);
  CHECK(eventually([&] { return attr_of(vcpu.pid()).policy == SCHED_FIFO; }));  // by the default
  auto again = engine->set_limits(vm, test_limits(), "nonsense");
  CHECK_FALSE(static_cast<bool>(again));
  STRCMP_EQUAL(said[0].c_str(), again.error().text().c_str());
  CHECK_FALSE(static_cast<bool>(load(hostile("nonsense"))));
  CHECK(static_cast<bool>(swap(hostile("nonsense"))));
  CHECK(static_cast<bool>(engine->set_limits(vm, test_limits(), "nonsense")));
}
