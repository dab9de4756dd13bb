// SPDX-License-Identifier: GPL-2.0-or-later
// Policy objects as files: whose they are, what they say, what they may hold.
#include "bpf/policy_file.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>

#include "bpf/policy_library.h"
#include "pvsched/policy_interface.h"

// Last: it redefines operator new.
#include <CppUTest/TestHarness.h>

using namespace pvsched;

namespace {

Bytes bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(in), {});
}

std::string refusal(const char* name) {
  const std::string path = std::string(PVSCHED_HOSTILE) + "/" + name + ".bpf.o";
  auto parsed = parse_policy("p", bytes_of(path));
  return parsed ? "taken" : parsed.error().text();
}

std::size_t count(const Bytes& in, const std::string& text) {
  std::size_t n = 0;
  for (auto at = in.begin(); (at = std::search(at, in.end(), text.begin(), text.end())) != in.end(); ++at) ++n;
  return n;
}

}  // namespace

TEST_GROUP(PolicyFile) {
  Bytes latency = bytes_of(PVSCHED_POLICIES_BUILT "/latency.bpf.o");
  std::string dir;

  void setup() override {
    char name[] = "/tmp/pvsched-policy-test.XXXXXX";
    CHECK(mkdtemp(name) != nullptr);
    dir = name;
  }
  void teardown() override { CHECK_EQUAL(0, std::system(("rm -r " + dir).c_str())); }

  std::string put(const std::string& name, const Bytes& content) {
    const std::string path = dir + "/" + name;
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(content.data()), static_cast<std::streamsize>(content.size()));
    return path;
  }
  // The object with its description changed.
  Bytes described(const std::function<void(pvs_policy_info&)>& change) {
    Bytes out = latency;
    const std::uint32_t magic = PVS_POLICY_MAGIC;
    auto start = reinterpret_cast<const std::uint8_t*>(&magic);
    auto at = std::search(out.begin(), out.end(), start, start + sizeof(magic));
    pvs_policy_info info;
    std::memcpy(&info, &*at, sizeof(info));
    change(info);
    std::memcpy(&*at, &info, sizeof(info));
    return out;
  }
};

TEST(PolicyFile, says_what_it_is) {
  auto file = parse_policy("p", latency);
  if (!file) FAIL(file.error().text().c_str());
  STRCMP_EQUAL("latency", file->name.c_str());
  STRCMP_EQUAL("1.0", file->version.c_str());
  LONGS_EQUAL(1, file->state);
}

TEST(PolicyFile, is_named_for_its_slot) {
  auto file = parse_policy("p", latency);
  Bytes third = file->in_slot(3);
  LONGS_EQUAL(latency.size(), third.size());
  LONGS_EQUAL(0, count(third, "pvs_policy_slot_N"));
  LONGS_EQUAL(count(latency, "pvs_policy_slot_N"), count(third, "pvs_policy_slot_3"));
}

TEST(PolicyFile, holds_one_pure_function) {
  STRCMP_EQUAL("p: it calls helper 5: a policy calls nothing but its own functions", refusal("helper").c_str());
  STRCMP_EQUAL("p: it has a section .bss: a policy has one function and no program, map or data of its own",
               refusal("data").c_str());
  STRCMP_EQUAL(
      "p: it has a section tp_btf/sched_switch: a policy has one function and no program, map or data of its own",
      refusal("program").c_str());
  STRCMP_EQUAL("p: it needs mailboxes, which no policy is given", refusal("stranger").c_str());
}

TEST(PolicyFile, is_of_this_interface) {
  auto parsed = parse_policy("p", described([](pvs_policy_info& info) { info.interface = 99; }));
  STRCMP_EQUAL("p: it is built for version 99 of the policy interface: allowed is 1", parsed.error().text().c_str());
  parsed = parse_policy("p", described([](pvs_policy_info& info) { std::memset(info.name, 'x', sizeof(info.name)); }));
  CHECK_FALSE(static_cast<bool>(parsed));
  parsed = parse_policy("p", described([](pvs_policy_info& info) { info.name[0] = '/'; }));
  CHECK_FALSE(static_cast<bool>(parsed));
}

TEST(PolicyFile, is_no_policy_if_cut_off_or_something_else) {
  for (std::size_t size = 0; size < latency.size(); size += 7)
    CHECK_FALSE(
        static_cast<bool>(parse_policy("p", Bytes(latency.begin(), latency.begin() + static_cast<long>(size)))));
  CHECK_FALSE(static_cast<bool>(parse_policy("p", bytes_of("/proc/self/exe"))));
}

TEST(PolicyFile, says_who_vouches_for_it) {
  if (geteuid() != 0) {
    std::printf("SKIP: owners are root's to set\n");
    return;
  }
  auto file = read_policy(put("latency.bpf.o", latency), TrustRules());
  if (!file) FAIL(file.error().text().c_str());
  STRCMP_EQUAL("owner", file->trust.c_str());
  CHECK_FALSE(static_cast<bool>(read_policy(put("latency.bpf.o", latency), TrustRules{"", true})));
}

TEST(PolicyFile, a_library_has_the_default_first_and_says_what_it_refused) {
  put("a.bpf.o", described([](pvs_policy_info& info) { std::strcpy(info.name, "aaa"); }));
  put("b.bpf.o", latency);
  put("c.bpf.o", latency);
  put("d.bpf.o", {1, 2, 3});
  put("readme", {1, 2, 3});
  PolicyLibrary library = read_library({"/nowhere", dir}, TrustRules());
  LONGS_EQUAL(2, library.policies.size());
  STRCMP_EQUAL("latency", library.policies[0].name.c_str());
  STRCMP_EQUAL("aaa", library.policies[1].name.c_str());
  LONGS_EQUAL(2, library.refused.size());
  STRCMP_EQUAL((dir + "/c.bpf.o: " + dir + "/b.bpf.o has this name and comes first").c_str(),
               library.refused[0].refused.c_str());
  STRCMP_EQUAL((dir + "/d.bpf.o: no BPF object file").c_str(), library.refused[1].refused.c_str());
}
