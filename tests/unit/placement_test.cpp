// SPDX-License-Identifier: GPL-2.0-or-later
// Preferred CPUs: sets of CPUs, their load on a fixture tree, when a VM leaves and comes back, what a session does.
#include "daemon/placement.h"

#include <filesystem>
#include <fstream>

#include "daemon/cpu_load.h"
#include "served_vm.h"

// Last: it redefines new.
#include <CppUTest/TestHarness.h>

using namespace pvsched;

namespace {

// /proc/stat with two CPUs, by their busy and idle ticks.
void write_stat(const std::string& proc, unsigned busy0, unsigned idle0, unsigned busy1, unsigned idle1) {
  std::ofstream(proc + "/stat") << "cpu  9 9 9 9 9 9 9 9 0 0\n"
                                << "cpu0 " << busy0 << " 0 0 " << idle0 << " 0 0 0 0 0 0\n"
                                << "cpu1 0 0 " << busy1 << " " << idle1 / 2 << " " << idle1 - idle1 / 2
                                << " 0 0 0 0 0\nintr 5\n";
}

}  // namespace

// clang-format off
TEST_GROUP(Cpus){};
// clang-format on

TEST(Cpus, are_read_and_written_as_lists) {
  STRCMP_EQUAL("0-3,8", format_cpus(*parse_cpus("8,2-3,0-1,2")).c_str());
  STRCMP_EQUAL("1023", format_cpus(*parse_cpus("1023")).c_str());
  STRCMP_EQUAL("none", format_cpus(CpuSet()).c_str());
  STRCMP_EQUAL("2", format_cpus(*parse_cpus("0-2") & *parse_cpus("2-5")).c_str());
  for (const char* text : {"", "1024", "3-1", "1-", "-1", "1,", ",1", "01", "a", "1 2", "99999999999"})
    CHECK_FALSE(parse_cpus(text).has_value());
}

TEST_GROUP(Load) {
  TempDir* dir = nullptr;
  void setup() override { dir = new TempDir; }
  void teardown() override { delete dir; }
};

TEST(Load, is_of_the_time_between_two_samples) {
  CpuLoad load(dir->path());
  write_stat(dir->path(), 100, 100, 0, 200);
  load.sample();
  CHECK(load.busy(0) == 0);
  CHECK(load.seconds() == 0);
  write_stat(dir->path(), 175, 125, 0, 300);
  load.sample();
  DOUBLES_EQUAL(0.75, load.busy(0), 1e-9);
  DOUBLES_EQUAL(0, load.busy(1), 1e-9);
  DOUBLES_EQUAL(0.375, load.busy(*parse_cpus("0-1")), 1e-9);
  DOUBLES_EQUAL(100.0 / static_cast<double>(sysconf(_SC_CLK_TCK)), load.seconds(), 1e-9);
  DOUBLES_EQUAL(0, load.busy(500), 1e-9);
}

// clang-format off
TEST_GROUP(Hysteresis){};
// clang-format on

TEST(Hysteresis, one_leaves_after_two_samples_above_and_is_back_after_five_well_below) {
  Placement placement;
  const CpuRule rule{{}, 80};
  auto away_after = [&](double others, int samples) {
    for (int i = 0; i < samples; ++i) placement.step(rule, others);
    return placement.away();
  };
  CHECK_FALSE(away_after(0.8, 10));
  CHECK_FALSE(away_after(0.9, 1));
  CHECK_FALSE(away_after(0.5, 1));
  CHECK_FALSE(away_after(0.9, 1));
  CHECK(away_after(0.9, 1));
  CHECK(away_after(0.7, 20));  // below, but not well
  CHECK(away_after(0.6, 4));
  CHECK(away_after(0.7, 1));
  CHECK(away_after(0.6, 4));
  CHECK_FALSE(away_after(0.6, 1));
}

TEST(Hysteresis, a_low_threshold_can_be_come_back_from) {
  Placement placement;
  const CpuRule rule{{}, 10};
  for (int i = 0; i < 2; ++i) placement.step(rule, 0.2);
  CHECK(placement.away());
  for (int i = 0; i < 5; ++i) placement.step(rule, 0.05);
  CHECK_FALSE(placement.away());
}

TEST_GROUP(Preferring) {
  ServedVm* s = nullptr;
  unsigned busy = 100, idle = 100;

  void setup() override {
    SessionsOptions options;
    options.tag_cpus = {{"background", {*parse_cpus("1"), 50}}};
    s = new ServedVm(1, options);
  }
  void teardown() override { delete s; }
  void attach(const std::string& inside) const { s->attach(inside); }
  // A second in which CPU 1 was busy for `percent`, of which `own` by the vCPU; then where the vCPU is kept.
  std::string after(unsigned percent, unsigned own = 0) {
    const auto hz = static_cast<unsigned>(sysconf(_SC_CLK_TCK));
    busy += hz * percent / 100;
    idle += hz - hz * percent / 100;
    write_stat(s->qemu.proc(), 0, 100, busy, idle);
    ran += own * 10000000ull;
    std::ofstream(s->qemu.proc() + "/5001/schedstat") << ran << " 0 1\n";
    s->sessions->place();
    auto it = s->engine.placed.find(0);
    return it == s->engine.placed.end() ? "untouched" : format_cpus(it->second);
  }
  std::uint64_t ran = 1;
};

TEST(Preferring, without_a_preference_nothing_is_looked_at) {
  attach("");
  STRCMP_EQUAL("untouched", after(0).c_str());
}

TEST(Preferring, it_leaves_what_others_are_busy_on_and_comes_back) {
  attach("<p:cpus prefer='1,20' busy='50'/>");
  STRCMP_EQUAL("1", after(0).c_str());  // 20 is not among those that it may run on
  STRCMP_EQUAL("1", after(90).c_str());
  STRCMP_EQUAL("none", after(90).c_str());
  for (int i = 0; i < 4; ++i) STRCMP_EQUAL("none", after(10).c_str());
  STRCMP_EQUAL("1", after(10).c_str());
}

TEST(Preferring, its_own_load_does_not_drive_it_away) {
  attach("<p:cpus prefer='1' busy='50'/>");
  for (int i = 0; i < 5; ++i) STRCMP_EQUAL("1", after(100, 80).c_str());
  after(100, 20);
  STRCMP_EQUAL("none", after(100, 20).c_str());
}

TEST(Preferring, by_the_tag_where_the_vm_says_nothing_and_no_longer_than_it_has_that) {
  attach("");
  CHECK(ok(s->sessions->set_tag({"vm1", {}, 0, ""}, "background")));
  STRCMP_EQUAL("1", after(0).c_str());
  CHECK(ok(s->sessions->clear_tag({"vm1", {}, 0, ""})));
  STRCMP_EQUAL("none", after(0).c_str());
  attach("<p:tag name='background'/><p:cpus prefer='2-3'/>");
  STRCMP_EQUAL("2-3", after(0).c_str());
}
