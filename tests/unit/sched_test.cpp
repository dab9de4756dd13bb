// SPDX-License-Identifier: GPL-2.0-or-later
// Attributes from decisions, the table of baselines, and RT group funding on a fixture tree.
#include <unistd.h>

#include <bit>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "decide.h"
#include "sched/affinity.h"
#include "sched/attr.h"
#include "sched/baselines.h"
#include "sched/group_weight.h"
#include "sched/rt_group.h"

// Last: it redefines new.
#include <CppUTest/TestHarness.h>

using namespace pvsched;
namespace fs = std::filesystem;

namespace {

constexpr std::uint32_t kOther = 0, kFifo = 1, kRr = 2, kDeadline = 6;

const std::uint32_t kCritical = pvs_decision(PVSCHED_CLASS_CRITICAL, PVSCHED_SCHED_FIFO, 0, 60);
const std::uint32_t kTaskRr = pvs_decision(PVSCHED_CLASS_TASK, PVSCHED_SCHED_RR, 0, 20);
const std::uint32_t kTaskNice = pvs_decision(PVSCHED_CLASS_TASK, PVSCHED_SCHED_OTHER, -10, 0);

SchedAttr fair(int nice) {
  SchedAttr attr;
  attr.nice = nice;
  return attr;
}

SchedAttr realtime(std::uint32_t policy, std::uint32_t priority) {
  SchedAttr attr;
  attr.policy = policy;
  attr.priority = priority;
  return attr;
}

class TemporaryDir {
 public:
  TemporaryDir() {
    char name[] = "/tmp/pvsched-sched-test.XXXXXX";
    path_ = mkdtemp(name);
  }
  ~TemporaryDir() { fs::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  void write(const std::string& name, const std::string& text) const {
    fs::create_directories(fs::path(*this / name).parent_path());
    std::ofstream(*this / name) << text;
  }
  long number(const std::string& name) const {
    long value = -99;
    std::ifstream(*this / name) >> value;
    return value;
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace

TEST_GROUP(Attr){};

TEST(Attr, baseline_decision_is_the_baseline) {
  SchedAttr base = fair(5);
  CHECK(same_attr(base, attr_for(0, base, RtMode::kRealtime)));
}

TEST(Attr, realtime_boost_resets_on_fork) {
  SchedAttr boost = attr_for(kCritical, fair(0), RtMode::kRealtime);
  LONGS_EQUAL(kFifo, boost.policy);
  LONGS_EQUAL(60, boost.priority);
  LONGS_EQUAL(1, boost.flags);
  LONGS_EQUAL(kRr, attr_for(kTaskRr, fair(0), RtMode::kFunded).policy);
}

TEST(Attr, fair_mode_is_the_highest_nice_and_a_short_slice) {
  SchedAttr boost = attr_for(kCritical, fair(0), RtMode::kFair);
  LONGS_EQUAL(kOther, boost.policy);
  LONGS_EQUAL(-20, boost.nice);
  LONGS_EQUAL(100000, boost.runtime);
}

TEST(Attr, a_boost_never_lowers) {
  SchedAttr high = realtime(kFifo, 80);
  CHECK(same_attr(high, attr_for(kCritical, high, RtMode::kRealtime)));
  CHECK(same_attr(high, attr_for(kTaskNice, high, RtMode::kRealtime)));
  CHECK(same_attr(high, attr_for(kCritical, high, RtMode::kFair)));
  SchedAttr nice = fair(-15);
  CHECK(same_attr(nice, attr_for(kTaskNice, nice, RtMode::kRealtime)));
  SchedAttr deadline;
  deadline.policy = kDeadline;
  deadline.runtime = 1000000;
  CHECK(same_attr(deadline, attr_for(kCritical, deadline, RtMode::kRealtime)));
}

TEST(Attr, own_thread_reads_and_writes_back) {
  SchedAttr attr;
  LONGS_EQUAL(0, get_attr(0, attr));
  LONGS_EQUAL(0, set_attr(0, attr));
  SchedAttr again;
  LONGS_EQUAL(0, get_attr(0, again));
  CHECK(same_attr(attr, again));
}

TEST(Attr, start_time_of_a_thread_with_an_odd_name) {
  TemporaryDir proc;
  proc.write("7/stat", "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21\n");
  LONGS_EQUAL(4711, start_time(proc.path().c_str(), 7));
  LONGS_EQUAL(0, start_time(proc.path().c_str(), 8));
}

TEST_GROUP(BaselineTable) {
  TemporaryDir dir;
  std::unique_ptr<Baselines> table;

  void setup() override {
    auto made = Baselines::create(dir / "baselines", 200);
    CHECK(static_cast<bool>(made));
    table = std::make_unique<Baselines>(made.take());
  }
};

TEST(BaselineTable, is_seen_through_the_file) {
  (*table)->entries[3].tid = 42;
  auto other = Baselines::open(dir / "baselines");
  CHECK(static_cast<bool>(other));
  LONGS_EQUAL(42, (*other)->entries[3].tid);
  LONGS_EQUAL(200, (*other)->lease_ms);
}

TEST(BaselineTable, another_version_is_refused_with_its_path) {
  dir.write("old", "x");
  auto other = Baselines::open(dir / "old");
  CHECK_FALSE(static_cast<bool>(other));
  STRCMP_CONTAINS("old: the table of baselines is of another version", other.error().text().c_str());
}

TEST(BaselineTable, move_assignment_onto_a_live_one) {
  auto second = Baselines::create(dir / "second", 300);
  CHECK(static_cast<bool>(second));
  *table = second.take();
  LONGS_EQUAL(300, (*table)->lease_ms);
}

TEST(BaselineTable, a_thread_with_another_start_time_is_not_touched) {
  BaselineEntry& entry = (*table)->entries[0];
  entry.active = 1;
  entry.tid = getpid();
  entry.start_time = 1;  // not this process
  entry.baseline = fair(19);
  CHECK(restore_thread(entry));
  SchedAttr now;
  get_attr(getpid(), now);
  CHECK(now.nice != 19);
}

TEST(BaselineTable, an_attribute_that_pvsched_never_set_is_left_alone) {
  BaselineEntry& entry = (*table)->entries[0];
  entry.active = 1;
  entry.tid = getpid();
  entry.start_time = start_time("/proc", getpid());
  entry.baseline = fair(19);
  entry.intended = kCritical;
  LONGS_EQUAL(0, restore_all(**table, true));
  SchedAttr now;
  get_attr(getpid(), now);
  CHECK(now.nice != 19);
}

TEST(BaselineTable, its_own_affinity_comes_back_unless_somebody_set_another) {
  CpuSet own;
  LONGS_EQUAL(0, get_affinity(getpid(), own));
  BaselineEntry& entry = (*table)->entries[0];
  entry.active = 1;
  entry.tid = getpid();
  entry.start_time = start_time("/proc", getpid());
  get_attr(getpid(), entry.baseline);
  CpuSet first;
  first.add(static_cast<unsigned>(std::countr_zero(own.words[0])));
  CHECK(static_cast<bool>(place_thread(entry, first)));
  CpuSet now;
  get_affinity(getpid(), now);
  CHECK(now == first);
  LONGS_EQUAL(0, restore_all(**table, true));  // as the guardian does
  get_affinity(getpid(), now);
  CHECK(now == own);
  CHECK(static_cast<bool>(place_thread(entry, first)));
  entry.given = entry.given_before = own;  // what it has is not what was given
  restore_all(**table, true);
  get_affinity(getpid(), now);
  CHECK(now == first);
  set_affinity(getpid(), own);
}

TEST_GROUP(RtGroup) {
  TemporaryDir dir;
  RtGroups roots;
  std::unique_ptr<Baselines> table;
  std::vector<unsigned> notes;

  void setup() override {
    roots = {dir / "proc", dir / "cgroup"};
    dir.write("cgroup/cpu/cpu.rt_runtime_us", "950000");
    dir.write("cgroup/cpu/machine/cpu.rt_runtime_us", "0");
    vm("a", 0);
    auto made = Baselines::create(dir / "baselines", 200);
    CHECK(static_cast<bool>(made));
    table = std::make_unique<Baselines>(made.take());
  }
  // A VM's two vCPU threads: tids 10 * n + 1 and + 2.
  void vm(const std::string& name, int n) {
    dir.write("cgroup/cpu/machine/" + name + "/cpu.rt_runtime_us", "0");
    for (int v = 0; v < 2; ++v) {
      std::string path = "/machine/" + name + "/vcpu" + std::to_string(v);
      dir.write("cgroup/cpu" + path + "/cpu.rt_runtime_us", "0");
      dir.write("proc/" + std::to_string(10 * n + 1 + v) + "/cgroup",
                "9:memory:/other\n4:cpu,cpuacct:" + path + "\n0::/\n");
    }
  }
  long machine() { return dir.number("cgroup/cpu/machine/cpu.rt_runtime_us"); }
};

TEST(RtGroup, a_thread_in_a_group_without_run_time_needs_funds) {
  CHECK(needs_funds(roots, 1));
  dir.write("cgroup/cpu/machine/a/vcpu0/cpu.rt_runtime_us", "1000");
  CHECK_FALSE(needs_funds(roots, 1));
  CHECK_FALSE(needs_funds(RtGroups{dir / "proc", dir / "nothing"}, 1));
}

TEST(RtGroup, every_ancestor_is_raised_and_comes_back) {
  CHECK(static_cast<bool>(fund(roots, {1}, **table, notes)));
  LONGS_EQUAL(3, notes.size());
  LONGS_EQUAL(475000, machine());
  LONGS_EQUAL(475000, dir.number("cgroup/cpu/machine/a/vcpu0/cpu.rt_runtime_us"));
  LONGS_EQUAL(0, dir.number("cgroup/cpu/machine/a/vcpu1/cpu.rt_runtime_us"));
  restore_all(**table, true);
  LONGS_EQUAL(0, machine());
  LONGS_EQUAL(0, dir.number("cgroup/cpu/machine/a/vcpu0/cpu.rt_runtime_us"));
}

TEST(RtGroup, a_second_vm_finds_what_is_left_and_keeps_it_when_the_first_goes) {
  std::vector<unsigned> second;
  vm("b", 1);
  CHECK(static_cast<bool>(fund(roots, {1}, **table, notes)));
  CHECK(static_cast<bool>(fund(roots, {11}, **table, second)));
  LONGS_EQUAL(475000 + 237500, machine());
  for (unsigned note : notes) give_back((*table)->funds[note]);
  LONGS_EQUAL(237500, machine());
}

TEST(RtGroup, too_little_left_is_an_error_with_figures_and_changes_nothing) {
  dir.write("cgroup/cpu/other/cpu.rt_runtime_us", "900000");
  Status status = fund(roots, {1, 2}, **table, notes);
  CHECK_FALSE(static_cast<bool>(status));
  STRCMP_CONTAINS("50000 us of each second are left, 200000 are needed", status.error().text().c_str());
  LONGS_EQUAL(0, machine());
  LONGS_EQUAL(0, notes.size());
}

TEST_GROUP(GroupWeight) {
  TemporaryDir dir;
  RtGroups roots;
  std::unique_ptr<Baselines> table;
  WeightEntry* entry = nullptr;

  void setup() override {
    roots = {dir / "proc", dir / "cgroup"};
    auto made = Baselines::create(dir / "baselines", 200);
    CHECK(static_cast<bool>(made));
    table = std::make_unique<Baselines>(made.take());
    entry = &(*table)->weights[3];
  }
  void version1() {
    dir.write("cgroup/cpu/cpu.shares", "1024");
    dir.write("proc/7/cgroup", "4:cpu,cpuacct:/machine/vm/emulator\n0::/\n");
    for (const char* group : {"machine", "machine/vm", "machine/vm/emulator"})
      dir.write(std::string("cgroup/cpu/") + group + "/cpu.shares", "1024");
  }
  void version2(const std::string& path) {
    dir.write("cgroup/cgroup.controllers", "cpu");
    dir.write("proc/7/cgroup", "0::" + path + "\n");
  }
};

TEST(GroupWeight, libvirts_layout_names_the_vms_cgroup) {
  version1();
  STRCMP_EQUAL((dir / "cgroup/cpu/machine/vm").c_str(), weight_group_of(roots, 7).c_str());
}

TEST(GroupWeight, libvirts_layout_in_version_2) {
  version2("/machine.slice/vm.scope/libvirt/emulator");
  STRCMP_EQUAL((dir / "cgroup/machine.slice/vm.scope").c_str(), weight_group_of(roots, 7).c_str());
}

TEST(GroupWeight, of_another_qemu_the_uppermost_that_holds_only_it) {
  version2("/tests/vm/inner");
  dir.write("cgroup/tests/cgroup.procs", "1\n");
  for (const char* group : {"tests/vm", "tests/vm/inner"}) {
    dir.write(std::string("cgroup/") + group + "/cpu.weight", "100");
    dir.write(std::string("cgroup/") + group + "/cgroup.procs", "");
  }
  dir.write("cgroup/tests/vm/inner/cgroup.procs", "7\n");
  STRCMP_EQUAL((dir / "cgroup/tests/vm").c_str(), weight_group_of(roots, 7).c_str());
  dir.write("cgroup/tests/vm/inner/cgroup.procs", "7\n8\n");
  STRCMP_EQUAL("", weight_group_of(roots, 7).c_str());
}

TEST(GroupWeight, lowered_and_put_back_as_it_was) {
  version1();
  dir.write("cgroup/cpu/machine/vm/cpu.shares", "2048");
  CHECK(note_weight(dir / "cgroup/cpu/machine/vm", *entry));
  CHECK(set_lowered(*entry, true));
  LONGS_EQUAL(2, dir.number("cgroup/cpu/machine/vm/cpu.shares"));
  LONGS_EQUAL(0, restore_all(**table, false));  // as the guardian does
  LONGS_EQUAL(2048, dir.number("cgroup/cpu/machine/vm/cpu.shares"));
}

TEST(GroupWeight, what_an_administrator_sets_stays) {
  version1();
  CHECK(note_weight(dir / "cgroup/cpu/machine/vm", *entry));
  dir.write("cgroup/cpu/machine/vm/cpu.shares", "512");
  CHECK(set_lowered(*entry, true));
  CHECK(set_lowered(*entry, false));
  LONGS_EQUAL(512, dir.number("cgroup/cpu/machine/vm/cpu.shares"));
  CHECK(set_lowered(*entry, true));
  dir.write("cgroup/cpu/machine/vm/cpu.shares", "700");
  CHECK(set_lowered(*entry, false));
  LONGS_EQUAL(700, dir.number("cgroup/cpu/machine/vm/cpu.shares"));
}
