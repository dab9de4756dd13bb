// SPDX-License-Identifier: GPL-2.0-or-later
// Tags: names, threads, cgroups on fixture trees; which one counts in a session; who is counted besides vCPUs.
#include "daemon/tags.h"

#include <filesystem>
#include <fstream>

#include "pvsched/tags.h"
#include "served_vm.h"

// Last: it redefines new.
#include <CppUTest/TestHarness.h>

using namespace pvsched;

TEST_GROUP(Tags) {
  struct State {
    TempDir dir;
    FakeQemu qemu{dir.path()};
    Tags tags{qemu.proc(), {{"night", 16}}};
  };
  State* s = nullptr;

  void setup() override { s = new State; }
  void teardown() override { delete s; }
  std::string cgroup(const std::string& name, const std::string& threads) const {
    const std::string folder = s->dir.path() + "/cgroup/" + name;
    std::filesystem::create_directories(folder);
    std::ofstream(folder + "/cgroup.threads") << threads;
    return folder;
  }
};

TEST(Tags, names_are_found_both_ways) {
  LONGS_EQUAL(PVS_TAG_FOREGROUND, *s->tags.find("foreground"));
  LONGS_EQUAL(PVS_TAG_FOREGROUND, *s->tags.find("online"));
  LONGS_EQUAL(PVS_TAG_BACKGROUND, *s->tags.find("offline"));
  LONGS_EQUAL(16, *s->tags.find("night"));
  STRCMP_EQUAL("foreground", s->tags.name(PVS_TAG_FOREGROUND).c_str());
  STRCMP_EQUAL("night", s->tags.name(16).c_str());
  STRCMP_EQUAL("17", s->tags.name(17).c_str());
  STRCMP_EQUAL("no tag has the name 'day'; known are none, foreground, background, online, offline, night",
               s->tags.find("day").error().text().c_str());
}

TEST(Tags, an_own_one_has_a_new_name_and_a_number_in_range) {
  STRCMP_EQUAL("", tag_fault("night", "16").c_str());
  STRCMP_EQUAL("", tag_fault("night", "65535").c_str());
  for (const char* value : {"15", "65536", "-1", "x", "", "16x"})
    STRCMP_EQUAL("allowed is a whole number from 16 to 65535", tag_fault("night", value).c_str());
  STRCMP_EQUAL("this name is known already, as 1", tag_fault("online", "16").c_str());
  STRCMP_EQUAL("allowed as a name are a lower-case letter, then up to 30 of a-z, 0-9 and -",
               tag_fault("Night", "16").c_str());
}

TEST(Tags, a_threads_tag_goes_with_the_thread) {
  CHECK_FALSE(static_cast<bool>(s->tags.set_thread(70, PVS_TAG_FOREGROUND)));
  s->qemu.add_thread(70, 70, 5);
  CHECK(ok(s->tags.set_thread(70, PVS_TAG_FOREGROUND)));
  s->tags.scan();
  LONGS_EQUAL(PVS_TAG_FOREGROUND, *s->tags.thread(70));
  s->qemu.add_thread(70, 70, 6);  // the TID was used again
  s->tags.scan();
  CHECK_FALSE(s->tags.thread(70).has_value());
  CHECK(s->tags.empty());
}

TEST(Tags, of_the_cgroups_around_a_thread_the_nearest_counts) {
  const std::string outer = cgroup("a", "1\n");
  const std::string inner = cgroup("a/b", "2\n");
  cgroup("a/c", "3\n");
  CHECK(ok(s->tags.set_cgroup(outer, PVS_TAG_FOREGROUND)));
  CHECK(ok(s->tags.set_cgroup(inner + "/.", PVS_TAG_BACKGROUND)));
  LONGS_EQUAL(PVS_TAG_FOREGROUND, *s->tags.cgroup(1));
  LONGS_EQUAL(PVS_TAG_BACKGROUND, *s->tags.cgroup(2));
  LONGS_EQUAL(PVS_TAG_FOREGROUND, *s->tags.cgroup(3));
  CHECK((s->tags.tagged(PVS_TAG_FOREGROUND) == std::set<pid_t>{1, 3}));
  cgroup("a/b", "2\n4\n");
  s->tags.scan();
  LONGS_EQUAL(PVS_TAG_BACKGROUND, *s->tags.cgroup(4));
  std::filesystem::remove_all(inner);
  s->tags.scan();
  CHECK_FALSE(s->tags.cgroup(2).has_value());
  LONGS_EQUAL(1, s->tags.cgroups().size());
  CHECK(ok(s->tags.clear_cgroup(outer)));
  CHECK(s->tags.empty());
}

TEST(Tags, a_folder_that_is_no_cgroup_is_refused) {
  const std::string folder = s->dir.path();
  STRCMP_EQUAL((folder + " is no cgroup's folder").c_str(),
               s->tags.set_cgroup(folder, PVS_TAG_FOREGROUND).error().text().c_str());
}

TEST(Tags, a_threads_own_counts_before_its_cgroups) {
  s->qemu.add_thread(2, 2, 5);
  CHECK(ok(s->tags.set_cgroup(cgroup("a", "2\n"), PVS_TAG_FOREGROUND)));
  CHECK(ok(s->tags.set_thread(2, PVS_TAG_BACKGROUND)));
  CHECK(s->tags.tagged(PVS_TAG_FOREGROUND).empty());
  CHECK(s->tags.tagged(PVS_TAG_BACKGROUND).contains(2));
}

TEST_GROUP(TaggedVm) {
  ServedVm* s = nullptr;

  void setup() override {
    SessionsOptions options;
    options.own_tags = {{"night", 16}};
    s = new ServedVm(2, options);
  }
  void teardown() override { delete s; }
  void attach(const std::string& inside) const { s->attach(inside); }
  unsigned tag(unsigned id) const { return s->engine.vms.begin()->second.vcpus.at(id).tag; }
  void set(const TagSubject& subject, const char* name) const { CHECK(ok(s->sessions->set_tag(subject, name))); }
  void clear(const TagSubject& subject) const { CHECK(ok(s->sessions->clear_tag(subject))); }
  static TagSubject vm() { return {"vm1", {}, 0, ""}; }
  static TagSubject vcpu(unsigned id) { return {"vm1", id, 0, ""}; }
  static TagSubject thread(pid_t tid) { return {"", {}, tid, ""}; }
};

TEST(TaggedVm, the_nearest_to_the_thread_counts_and_at_run_time_before_the_metadata) {
  attach("<p:tag name='background'/><p:vcpu id='1' tag='foreground'/>");
  LONGS_EQUAL(PVS_TAG_BACKGROUND, tag(0));
  LONGS_EQUAL(PVS_TAG_FOREGROUND, tag(1));
  set(vm(), "night");
  LONGS_EQUAL(16, tag(0));
  LONGS_EQUAL(PVS_TAG_FOREGROUND, tag(1));
  const std::string folder = s->dir.path() + "/cgroup";
  std::filesystem::create_directories(folder);
  std::ofstream(folder + "/cgroup.threads") << "5001\n5002\n";
  set({"", {}, 0, folder}, "none");
  LONGS_EQUAL(PVS_TAG_NONE, tag(0));
  LONGS_EQUAL(PVS_TAG_FOREGROUND, tag(1));
  set(vcpu(1), "background");
  LONGS_EQUAL(PVS_TAG_BACKGROUND, tag(1));
  set(thread(5002), "night");
  LONGS_EQUAL(16, tag(1));
  clear(thread(5002));
  LONGS_EQUAL(PVS_TAG_BACKGROUND, tag(1));
  clear(vcpu(1));
  LONGS_EQUAL(PVS_TAG_FOREGROUND, tag(1));
  clear({"", {}, 0, folder});
  LONGS_EQUAL(16, tag(0));
  clear(vm());
  LONGS_EQUAL(PVS_TAG_BACKGROUND, tag(0));
}

TEST(TaggedVm, one_set_by_hand_outlasts_new_limits) {
  attach("<p:tag name='background'/>");
  set(vm(), "foreground");
  attach("<p:priority max='20'/>");
  LONGS_EQUAL(PVS_TAG_FOREGROUND, tag(0));
  clear(vm());
  LONGS_EQUAL(PVS_TAG_NONE, tag(0));
}

TEST(TaggedVm, an_unknown_name_counts_as_none_and_is_said_once) {
  attach("<p:tag name='day'/>");
  LONGS_EQUAL(PVS_TAG_NONE, tag(0));
  LONGS_EQUAL(PVS_TAG_NONE, tag(1));
  LONGS_EQUAL(1, s->times("no tag has the name 'day'"));
  s->sessions->set_own_tags({{"day", 20}});
  LONGS_EQUAL(20, tag(0));
}

TEST(TaggedVm, only_foreground_threads_that_are_no_vcpus_are_counted_besides) {
  attach("");
  s->qemu.add_thread(6000, 6000, 1);
  s->qemu.add_thread(6001, 6001, 1);
  set(thread(6000), "foreground");
  set(thread(6001), "background");
  set(thread(5001), "foreground");
  CHECK((s->engine.others == std::set<pid_t>{6000}));
  s->qemu.remove_thread(6000);
  s->sessions->watch_tags();
  CHECK(s->engine.others.empty());
}

TEST(TaggedVm, what_there_is_not_is_refused_with_a_sentence) {
  attach("");
  auto sentence = [&](const TagSubject& subject, const char* name) {
    auto status = s->sessions->set_tag(subject, name);
    return status ? std::string("taken") : status.error().text();
  };
  STRCMP_EQUAL("no session of a domain 'vm2'", sentence({"vm2", {}, 0, ""}, "background").c_str());
  STRCMP_EQUAL("there is no vCPU 7", sentence(vcpu(7), "background").c_str());
  STRCMP_CONTAINS("no tag has the name 'x'", sentence(vm(), "x").c_str());
  STRCMP_EQUAL("the VM was given no tag by pvschedctl", s->sessions->clear_tag(vm()).error().text().c_str());
}
