// SPDX-License-Identifier: GPL-2.0-or-later
// The real pvsched-hook against daemons good and bad.
#include <algorithm>
#include <string>
#include <vector>

#include "common/json.h"
#include "hook_harness.h"

// Last: it redefines new.
#include <CppUTest/TestHarness.h>

using namespace pvsched;  // NOLINT: the tests' own

namespace {

Outcome run_once(const Setup& setup) {
  TemporaryFolder folder;
  std::string socket_path = folder.file("pvschedd.sock");
  Outcome outcome =
      run_command({environment("PVSCHED_HOOK"), "--socket", socket_path, setup.name, setup.operation, "begin", "-"},
                  setup, socket_path);
  STRCMP_EQUAL("", outcome.out.c_str());  // at migrate, stdout would be the new XML
  CHECK_FALSE(outcome.stray_children);
  return outcome;
}

bool ran_out_of_time(const Outcome& outcome) {
  return outcome.err.find("timed out") != std::string::npos || outcome.err.find("time is over") != std::string::npos;
}

/// For daemons that answer at once: on a machine so busy that this still takes 300 ms, again.
Outcome run_answered(const Setup& setup) {
  for (int i = 0; i < 50; ++i) {
    Outcome outcome = run_once(setup);
    if (!ran_out_of_time(outcome)) return outcome;
  }
  FAIL("pvsched-hook ran out of time fifty times");
  return {};
}

const char* const kGoingOn = "; going on without pvschedd\n";

bool is_one_line(const std::string& text) {
  return text.ends_with('\n') && std::count(text.begin(), text.end(), '\n') == 1;
}

}  // namespace

// clang-format off
TEST_GROUP(HookProcess){};
// clang-format on

TEST(HookProcess, ForwardsAndIsQuietWhenAllIsWell) {
  for (const char* operation : {"prepare", "started", "stopped", "release", "reconnect", "migrate"}) {
    Outcome outcome = run_answered({.operation = operation});
    LONGS_EQUAL(0, outcome.status);
    STRCMP_EQUAL("", outcome.err.c_str());
    auto request = parse_json(outcome.request);
    CHECK_TRUE(request);
    STRCMP_EQUAL("hook", string_member(*request, "op")->c_str());
    STRCMP_EQUAL("web1", string_member(*request, "name")->c_str());
    STRCMP_EQUAL(operation, string_member(*request, "operation")->c_str());
    STRCMP_EQUAL("begin", string_member(*request, "sub")->c_str());
    STRCMP_EQUAL("-", string_member(*request, "extra")->c_str());
    STRCMP_EQUAL(kXml.c_str(), string_member(*request, "xml")->c_str());
  }
}

TEST(HookProcess, OtherOperationsEndAtOnce) {
  for (const char* operation : {"start", "restore", "attach", "nonsense"}) {
    Outcome outcome = run_once({.operation = operation, .close_stdin = false});
    LONGS_EQUAL(0, outcome.status);
    STRCMP_EQUAL("", outcome.err.c_str());
    CHECK_FALSE(outcome.connected);
  }
}

TEST(HookProcess, DomainsWithoutTheElementAreNotForwarded) {
  Outcome outcome = run_answered({.xml = "<domain><name>web1</name></domain>"});
  LONGS_EQUAL(0, outcome.status);
  STRCMP_EQUAL("", outcome.err.c_str());
  CHECK_FALSE(outcome.connected);
}

TEST(HookProcess, NoXmlIsForwarded) {
  Outcome outcome = run_answered({.operation = "stopped", .xml = ""});
  LONGS_EQUAL(0, outcome.status);
  CHECK_TRUE(outcome.connected);
}

TEST(HookProcess, WarningsAreShownAndTheVmStarts) {
  Outcome outcome = run_answered({.answer = "{\"ok\":true,\"warnings\":[\"line 7: odd\",\"and\\nso on\"]}\n"});
  LONGS_EQUAL(0, outcome.status);
  STRCMP_EQUAL("pvsched: VM web1: line 7: odd\npvsched: VM web1: and so on\n", outcome.err.c_str());
}

TEST(HookProcess, PrepareIsRefused) {
  Outcome outcome = run_answered({.answer = "{\"ok\":false,\"message\":\"line 7:\\nwrong\"}\n"});
  LONGS_EQUAL(77, outcome.status);
  STRCMP_EQUAL("pvsched: VM web1: line 7: wrong\n", outcome.err.c_str());
}

TEST(HookProcess, NothingElseIsRefused) {
  for (const char* operation : {"started", "stopped", "release", "reconnect", "migrate"}) {
    Outcome outcome = run_answered({.answer = "{\"ok\":false,\"message\":\"wrong\"}\n", .operation = operation});
    LONGS_EQUAL(0, outcome.status);
    STRCMP_EQUAL("pvsched: VM web1: wrong\n", outcome.err.c_str());
  }
}

TEST(HookProcess, DaemonAbsent) {
  Outcome outcome = run_answered({.daemon = Daemon::Absent});
  LONGS_EQUAL(0, outcome.status);
  CHECK_TRUE(is_one_line(outcome.err));
  STRCMP_CONTAINS("pvschedd.sock: No such file or directory; going on without pvschedd", outcome.err.c_str());
}

TEST(HookProcess, DaemonThatClosesWithoutAnAnswer) {
  Outcome outcome = run_answered({.daemon = Daemon::ClosesAtOnce});
  LONGS_EQUAL(0, outcome.status);
  CHECK_TRUE(is_one_line(outcome.err));
  STRCMP_CONTAINS(kGoingOn, outcome.err.c_str());
}

TEST(HookProcess, DaemonThatSpeaksGarbage) {
  for (const char* answer : {"hello\n", "\n", "{}\n", "{\"ok\":\"no\"}\n", "[[[[\n", "{\"ok\":false", ""}) {
    Outcome outcome = run_answered({.answer = answer});
    LONGS_EQUAL(0, outcome.status);
    CHECK_TRUE(is_one_line(outcome.err));
    STRCMP_CONTAINS(kGoingOn, outcome.err.c_str());
  }
}

TEST(HookProcess, DaemonThatFloods) {
  Outcome outcome = run_once({.daemon = Daemon::Floods});
  LONGS_EQUAL(0, outcome.status);
  CHECK_TRUE(is_one_line(outcome.err));
  if (!ran_out_of_time(outcome)) STRCMP_CONTAINS("answer longer than 65536 bytes", outcome.err.c_str());
}

TEST(HookProcess, AnswerInPiecesIsReadOrTheTimeIsOver) {
  Outcome outcome = run_once({.daemon = Daemon::AnswersInPieces});
  LONGS_EQUAL(0, outcome.status);
  CHECK_TRUE(outcome.err.empty() || ran_out_of_time(outcome));
}

TEST(HookProcess, AnswerBeforeTheRequestIsReadCounts) {
  Outcome outcome = run_answered({.daemon = Daemon::AnswersEarly, .answer = "{\"ok\":false,\"message\":\"no\"}\n"});
  // Unread data makes the kernel reset the connection, which may take the answer away.
  CHECK_TRUE(outcome.status == 77 || outcome.err.find(kGoingOn) != std::string::npos);
}

TEST(HookProcess, DaemonsThatDoNotAnswerAreLeftAlone) {
  for (Daemon daemon : {Daemon::Silent, Daemon::Deaf, Daemon::Busy}) {
    for (const char* operation : {"prepare", "started"}) {
      Outcome outcome = run_once({.daemon = daemon, .operation = operation});
      LONGS_EQUAL(0, outcome.status);
      CHECK_TRUE(is_one_line(outcome.err));
      CHECK_TRUE(ran_out_of_time(outcome));
    }
  }
}

TEST(HookProcess, DeafDaemonAndALargeDocument) {
  Outcome outcome = run_once({.daemon = Daemon::Deaf, .xml = kXml + std::string(4 << 20, ' ')});
  LONGS_EQUAL(0, outcome.status);
  CHECK_TRUE(ran_out_of_time(outcome));
}

TEST(HookProcess, StdinThatNeverEnds) {
  Outcome outcome = run_once({.close_stdin = false});
  LONGS_EQUAL(0, outcome.status);
  STRCMP_EQUAL("pvsched: VM web1: domain XML: timed out; going on without pvschedd\n", outcome.err.c_str());
  CHECK_FALSE(outcome.connected);
}

TEST(HookProcess, StderrThatNobodyReads) {
  for (Daemon daemon : {Daemon::Absent, Daemon::Silent}) {
    LONGS_EQUAL(0, run_once({.daemon = daemon, .read_stderr = false}).status);
  }
}

TEST(HookProcess, BackstopEndsAHookWhoseDeadlinesDoNot) {
  for (bool block_alarm : {false, true}) {
    Outcome outcome = run_once(
        {.daemon = Daemon::Silent, .block_alarm = block_alarm, .preload = environment("PVSCHED_POLL_FOREVER")});
    LONGS_EQUAL(0, outcome.status);
    STRCMP_EQUAL("pvsched: the hook's time is over; going on without pvschedd\n", outcome.err.c_str());
  }
}

TEST(HookProcess, LargeDocumentArrivesWhole) {
  Outcome outcome = run_answered({.xml = kXml + std::string(1 << 20, 'x')});
  LONGS_EQUAL(0, outcome.status);
  auto request = parse_json(outcome.request);
  CHECK_TRUE(request);
  LONGS_EQUAL(kXml.size() + (1 << 20), string_member(*request, "xml")->size());
}

TEST(HookProcess, OverlongDocumentIsReadToItsEndAndLeftAlone) {
  Outcome outcome = run_once({.xml = kXml + std::string(20 << 20, 'x')});
  LONGS_EQUAL(0, outcome.status);
  STRCMP_CONTAINS("domain XML: ", outcome.err.c_str());
  CHECK_FALSE(outcome.connected);
}

TEST(HookProcess, OddNames) {
  for (const char* name : {"--socket", "--version", "a b\"c\\", "\xff\xfe", "-", "a\nb"}) {
    Outcome outcome = run_answered({.answer = "{\"ok\":true,\"warnings\":[\"w\"]}\n", .name = name});
    LONGS_EQUAL(0, outcome.status);
    CHECK_TRUE(is_one_line(outcome.err));
    CHECK_TRUE(parse_json(outcome.request));
  }
}

TEST(HookProcess, WrongArgumentsStopNoVm) {
  const Setup setup{.daemon = Daemon::Absent};
  std::string hook = environment("PVSCHED_HOOK");
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{hook}, {hook, "a"}, {hook, "a", "prepare", "begin"}}) {
    Outcome outcome = run_command(arguments, setup, "");
    LONGS_EQUAL(0, outcome.status);
    STRCMP_CONTAINS("usage: ", outcome.err.c_str());
  }
  // Four arguments are always libvirt's, also with a VM of this name; the default socket may or may not be there.
  LONGS_EQUAL(0, run_command({hook, "--socket", "start", "begin", "-"}, setup, "").status);
  STRCMP_CONTAINS("pvsched-hook ", run_command({hook, "--version"}, setup, "").out.c_str());
}

TEST(HookProcess, SocketPathTooLong) {
  const Setup setup{.daemon = Daemon::Absent};
  Outcome outcome = run_command(
      {environment("PVSCHED_HOOK"), "--socket", "/" + std::string(200, 'x'), "web1", "prepare", "begin", "-"}, setup,
      "");
  LONGS_EQUAL(0, outcome.status);
  STRCMP_CONTAINS("File name too long; going on", outcome.err.c_str());
}
