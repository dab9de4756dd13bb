// SPDX-License-Identifier: GPL-2.0-or-later
// The daemon's common parts: tasks, sources, workers, lines, JSON, /proc, percentiles.
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <limits>

#include "common/histogram.h"
#include "common/json.h"
#include "common/line_buffer.h"
#include "common/loop.h"
#include "common/procfs.h"
#include "common/task.h"
#include "daemon/domain_xml.h"
#include "fake_qemu.h"
#include "test_helpers.h"

// Last: it redefines new.
#include <CppUTest/TestHarness.h>

using namespace pvsched;

TEST_GROUP(Tasks) {
  std::function<void(int)> resume;
  int seen = 0;
  int destroyed = 0;

  struct Note {
    int* count;
    ~Note() { ++*count; }
  };
  Task<int> wait() {
    Note note{&destroyed};
    Await<int> value([this](auto done) { resume = done; });
    int got = co_await value;
    co_return got + 1;
  }
  Task<int> outer() {
    Note note{&destroyed};
    seen = co_await wait();
    co_return seen;
  }
  void teardown() override { resume = {}; }
};

TEST(Tasks, a_callback_resumes_through_all_levels) {
  Task<int> task = outer();
  task.start();
  CHECK(task.running());
  resume(4);
  CHECK_EQUAL(5, seen);
  CHECK_FALSE(task.running());
  resume(9);
  CHECK_EQUAL(5, seen);
}

TEST(Tasks, letting_go_destroys_every_frame_and_a_late_callback_finds_nobody) {
  Task<int> task = outer();
  task.start();
  task.reset();
  CHECK_EQUAL(2, destroyed);
  resume(4);
  CHECK_EQUAL(0, seen);
}

TEST(Tasks, assignment_onto_a_live_one_ends_that) {
  Task<int> task = outer();
  task.start();
  task = outer();
  CHECK_EQUAL(2, destroyed);
  task.start();
  resume(1);
  CHECK_EQUAL(2, seen);
}

TEST_GROUP(Loop){};

TEST(Loop, sources_fire_and_stop_when_let_go) {
  int fired = 0;
  Source timer = Source::timer(5, [&] { return ++fired, true; });
  CHECK(run_until([&] { return fired >= 3; }));
  timer = Source::once(1, [&] { fired = 100; });
  CHECK(run_until([&] { return fired == 100; }));
  CHECK_FALSE(timer.active());
}

TEST(Loop, work_runs_elsewhere_and_its_result_comes_back_in_order) {
  auto worker = std::make_unique<Worker>();
  std::vector<int> results;
  GThread* const here = g_thread_self();
  bool same_thread = false;
  for (int i = 0; i < 3; ++i)
    worker->call([i, here] { return g_thread_self() == here ? -1 : i; },
                 [&, here](int value) {
                   same_thread = g_thread_self() == here;
                   results.push_back(value);
                 });
  CHECK(run_until([&] { return results.size() == 3; }));
  CHECK(same_thread);
  CHECK(results == std::vector<int>({0, 1, 2}));
  worker.reset();
  run_for(50);  // its thread lets go of the last job
}

TEST_GROUP(Lines){};

TEST(Lines, come_whole_with_either_end) {
  LineBuffer lines(10);
  CHECK(lines.append("one\r\ntw"));
  CHECK(lines.next() == "one");
  CHECK_FALSE(lines.next().has_value());
  CHECK(lines.append("o\n\nthree"));
  CHECK(lines.next() == "two");
  CHECK(lines.next() == "");
  CHECK_FALSE(lines.next().has_value());
  CHECK_FALSE(lines.append(" is too long"));
}

TEST_GROUP(JsonHelp){};

TEST(JsonHelp, hostile_text_is_an_error) {
  CHECK_FALSE(parse_json(""));
  CHECK_FALSE(parse_json("{"));
  CHECK_FALSE(parse_json(std::string(100000, '[')));
  CHECK(ok(parse_json(std::string(64, '[') + std::string(64, ']'))));
  CHECK(ok(parse_json("\"[[[ \\\" [[[\"")));
  STRCMP_EQUAL("\"\xEF\xBF\xBD\"", dump_json(Json("\xff")).c_str());
}

TEST(JsonHelp, members_of_another_type_are_not_there) {
  const Json value = Json::parse(R"({"s":"x","i":-3,"u":18446744073709551615,"b":true,"f":1.5})");
  CHECK(string_member(value, "s") == "x");
  CHECK(int_member(value, "i") == -3);
  CHECK_FALSE(int_member(value, "u").has_value());
  CHECK_FALSE(int_member(value, "f").has_value());
  CHECK_FALSE(string_member(value, "i").has_value());
  CHECK(bool_member(value, "b") == true);
  CHECK(member(Json(3), "x").is_null());
  STRCMP_EQUAL("a?b??...", printable("a\nb\xc3\xa4"
                                     "cdef",
                                     5)
                               .c_str());
}

TEST_GROUP(Proc){};

TEST(Proc, a_command_name_with_brackets_does_not_mislead) {
  TempDir dir;
  FakeQemu tree(dir.path());
  tree.add_thread(11, 10, 4711);
  auto info = thread_info(tree.proc(), 11);
  CHECK(ok(info));
  CHECK_EQUAL(10, info->tgid);
  CHECK_EQUAL(4711u, static_cast<unsigned>(info->start_time));
  CHECK_EQUAL(ESRCH, thread_info(tree.proc(), 12).error().code());
  std::ofstream(tree.proc() + "/11/stat") << "11 (x) S 1 2";
  CHECK_EQUAL(EPROTO, thread_info(tree.proc(), 11).error().code());
}

TEST(Proc, a_pidfd_tells_the_end_of_a_process) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  auto fd = open_pidfd(child);
  CHECK(ok(fd));
  bool ended = false;
  Source watch = Source::on_fd(fd->get(), G_IO_IN, [&](GIOCondition) { return ended = true, false; });
  run_for(10);
  CHECK_FALSE(ended);
  ::kill(child, SIGKILL);
  CHECK(run_until([&] { return ended; }));
  ::waitpid(child, nullptr, 0);
}

TEST_GROUP(Histogram){};

TEST(Histogram, percentiles_lie_within_their_bucket) {
  __u64 buckets[PVS_HIST_BUCKETS] = {};
  CHECK_FALSE(histogram_percentile(buckets, 0.5).has_value());
  buckets[10] = 99;
  buckets[20] = 1;
  CHECK_EQUAL(100u, static_cast<unsigned>(histogram_count(buckets)));
  const double half = *histogram_percentile(buckets, 0.5);
  CHECK(half >= 1024 && half < 2048);
  CHECK(*histogram_percentile(buckets, 0.995) > 1 << 20);
  CHECK_EQUAL(1 << 21, static_cast<int>(*histogram_percentile(buckets, 1.0)));
}

TEST_GROUP(DomainXml){};

TEST(DomainXml, name_uuid_and_socket) {
  auto domain = parse_domain_xml(
      "<domain><name>a</name><uuid>u</uuid><commandline><arg value='-qmp'/><arg value='unix:/wrong'/></commandline>"
      "<x:commandline xmlns:x='http://libvirt.org/schemas/domain/qemu/1.0'><x:arg value='-qmp'/>"
      "<x:arg value='unix:/right,server=on'/></x:commandline></domain>");
  CHECK(ok(domain));
  STRCMP_EQUAL("/right", domain->qmp_socket.c_str());
  CHECK_FALSE(parse_domain_xml("<domain><name>a</name></domain>"));
  CHECK_FALSE(parse_domain_xml("<!DOCTYPE domain [<!ENTITY e 'x'>]><domain><name>a</name><uuid>u</uuid></domain>"));
  STRCMP_EQUAL("", qmp_socket_of({"-qmp", "tcp:localhost:1"}).c_str());
  STRCMP_EQUAL("", qmp_socket_of({"-qmp"}).c_str());
  STRCMP_EQUAL("/a", qmp_socket_of({"-x", "-qmp", "unix:/a"}).c_str());
}
