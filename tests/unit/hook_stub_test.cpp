// SPDX-License-Identifier: GPL-2.0-or-later
// The shell stub that libvirt runs, with other hooks behind it.
#include <sys/stat.h>

#include <fstream>
#include <iterator>
#include <string>

#include "hook_harness.h"

// Last: it redefines new.
#include <CppUTest/TestHarness.h>

TEST_GROUP(HookStub) {
  TemporaryFolder folder;

  void write_script(const std::string& path, const std::string& text) {
    std::ofstream(path) << text;
    chmod(path.c_str(), 0755);
  }

  /// The stub as built, but with another hook behind it.
  std::string stub_for(const std::string& hook) {
    std::ifstream file(environment("PVSCHED_HOOK_STUB"));
    std::string text{std::istreambuf_iterator<char>(file), {}};
    std::size_t begin = text.find("HOOK=");
    CHECK_TRUE(begin != std::string::npos);
    text.replace(begin, text.find('\n', begin) - begin, "HOOK=\"" + hook + "\"");
    write_script(folder.file("stub"), text);
    return folder.file("stub");
  }

  /// Runs it with a hook of this text.
  Outcome run(const std::string& script, const std::string& operation) {
    write_script(folder.file("hook"), script);
    return run_command({stub_for(folder.file("hook")), "web 1", operation, "begin", "-"}, {.daemon = Daemon::Absent},
                       "");
  }
};

TEST(HookStub, PassesArgumentsInputAndOutput) {
  Outcome outcome = run("#!/bin/sh\nprintf '<%s>' \"$@\" >&2; cat >&2\n", "prepare");
  LONGS_EQUAL(0, outcome.status);
  STRCMP_EQUAL(("<web 1><prepare><begin><->" + kXml).c_str(), outcome.err.c_str());
  CHECK_FALSE(outcome.stray_children);
}

TEST(HookStub, OnlyARefusedPrepareFails) {
  LONGS_EQUAL(1, run("#!/bin/sh\nexit 77\n", "prepare").status);
  LONGS_EQUAL(0, run("#!/bin/sh\nexit 1\n", "prepare").status);  // as the loader's
  for (const char* operation : {"start", "started", "reconnect", "stopped", "release", "migrate"}) {
    LONGS_EQUAL(0, run("#!/bin/sh\nexit 77\n", operation).status);
  }
}

TEST(HookStub, ACrashFailsNothing) {
  LONGS_EQUAL(0, run("#!/bin/sh\nkill -SEGV $$\n", "prepare").status);
  LONGS_EQUAL(0, run("#!/bin/sh\nkill -SEGV $$\n", "started").status);
  LONGS_EQUAL(0, run("#!/nonexistent/interpreter\n", "started").status);
}

TEST(HookStub, MissingHookFailsNothing) {
  Outcome outcome =
      run_command({stub_for(folder.file("none")), "web1", "prepare", "begin", "-"}, {.daemon = Daemon::Absent}, "");
  LONGS_EQUAL(0, outcome.status);
  STRCMP_EQUAL("", outcome.err.c_str());
}
