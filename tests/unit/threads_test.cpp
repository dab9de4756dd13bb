// SPDX-License-Identifier: GPL-2.0-or-later
// Session: classes of QEMU's threads that are no vCPUs.
#include <algorithm>

#include "pvsched/policy_interface.h"
#include "served_vm.h"

// Last: it redefines new.
#include <CppUTest/TestHarness.h>

using namespace pvsched;

namespace {

constexpr pid_t kPid = ServedVm::kPid;
const std::uint32_t kNice = pvs_decision(PVSCHED_CLASS_TASK, PVSCHED_SCHED_OTHER, -5, 0);
const std::uint32_t kFifo = pvs_decision(PVSCHED_CLASS_TASK, PVSCHED_SCHED_FIFO, 0, 10);
const std::uint32_t kYield = pvs_decision(PVSCHED_CLASS_YIELD, PVSCHED_SCHED_OTHER, 7, 0);

}  // namespace

TEST_GROUP(Threads) {
  ServedVm* s = nullptr;

  void setup() override {
    s = new ServedVm(1);
    for (int i : {1, 2}) {
      s->qemu.add_thread(6000 + i, kPid, 7);
      s->qemu.iothreads["iothread" + std::to_string(i)] = 6000 + i;
    }
  }
  void teardown() override { delete s; }
  bool becomes(const std::map<pid_t, std::uint32_t>& expected) const {
    return run_until([&] { return s->engine.classed == expected; });
  }
};

TEST(Threads, none_is_asked_for_where_none_has_a_class) {
  s->attach("");
  CHECK(s->engine.classed.empty());
  const auto& commands = s->qemu.commands;
  CHECK(std::find(commands.begin(), commands.end(), "query-iothreads") == commands.end());
}

TEST(Threads, each_has_its_own_class_or_that_of_its_kind) {
  const std::string emulator = "<p:thread kind='emulator' nice='-5'/>";
  s->attach(emulator +
            "<p:thread kind='iothread' policy='fifo' priority='10'/>"
            "<p:thread kind='iothread' id='2' nice='7'/>");
  CHECK(becomes({{kPid, kNice}, {6001, kFifo}, {6002, kYield}}));
  s->qemu.iothreads.erase("iothread1");  // unplugged
  CHECK(becomes({{kPid, kNice}, {6002, kYield}}));
  CHECK(ok(s->sessions->set_enabled("vm1", false)));
  CHECK(becomes({}));
  CHECK(ok(s->sessions->set_enabled("vm1", true)));
  CHECK(becomes({{kPid, kNice}, {6002, kYield}}));
  s->attach(emulator);
  CHECK(becomes({{kPid, kNice}}));
}

TEST(Threads, a_thread_of_another_process_is_not_touched) {
  s->qemu.add_thread(6001, 4000, 7);
  s->attach("<p:thread kind='iothread' policy='fifo' priority='10'/>");
  CHECK(becomes({{6002, kFifo}}));
  CHECK(run_until([this] { return s->qemu.commands.size() > 12; }));  // some passes later
  LONGS_EQUAL(1, s->times("iothread1 is without its class: QEMU names a thread that is not its own"));
}
