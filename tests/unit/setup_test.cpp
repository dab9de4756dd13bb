// SPDX-License-Identifier: GPL-2.0-or-later
// The XML edit behind `pvschedctl setup`, and the diff it shows.

#include "ctl/diff.h"
#include "ctl/domain_edit.h"
#include "metadata/domain_config.h"
#include "test_helpers.h"

// Last: it redefines new.
#include <CppUTest/TestHarness.h>

using namespace pvsched;

namespace {

const char* const kPlain = R"(<domain type="kvm">
  <name>vm1</name>
  <uuid>11111111-2222-3333-4444-555555555555</uuid>
  <description>  two  blanks &amp; more </description>
  <devices>
    <controller type="pci" index="0" model="pcie-root"/>
    <interface type="user">
      <address type="pci" domain="0x0000" bus="0x00" slot="0x1c" function="0x0"/>
    </interface>
  </devices>
</domain>
)";

const char* const kFull = R"(<domain xmlns:q="http://libvirt.org/schemas/domain/qemu/1.0" type="kvm">
  <name>vm1</name>
  <metadata>
    <app:note xmlns:app="http://example.org/app">keep me</app:note>
  </metadata>
  <devices/>
  <q:commandline>
    <q:arg value="-device"/>
    <q:arg value="pvpanic"/>
    <q:env name="A" value="b"/>
  </q:commandline>
</domain>
)";

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string added(const std::string& xml, const SetupOptions& options) {
  auto edit = add_pvsched(xml, options);
  CHECK(ok(edit));
  return edit->after;
}

}  // namespace

TEST_GROUP(Setup) {
  SetupOptions options;
  void setup() override {
    options.plugin = "/usr/lib/qemu/pvsched.so";
    options.qmp_socket = "/run/pvsched/qmp/vm1.sock";
  }
  void teardown() override { options = SetupOptions(); }
};

TEST(Setup, adds_element_plugin_device_and_socket) {
  const std::string after = added(kPlain, options);
  CHECK(has(after, "xmlns:qemu=\"http://libvirt.org/schemas/domain/qemu/1.0\""));
  CHECK(has(after, "<qemu:arg value=\"-plugin\"/>\n    <qemu:arg value=\"/usr/lib/qemu/pvsched.so\"/>"));
  // 0x1c is taken by the interface.
  CHECK(has(after, "<qemu:arg value=\"-device\"/>\n    <qemu:arg value=\"pvsched,id=pvsched0,addr=0x1b\"/>"));
  CHECK(has(after, "<qemu:arg value=\"unix:/run/pvsched/qmp/vm1.sock,server=on,wait=off\"/>"));
  CHECK(has(after, "<description>  two  blanks &amp; more </description>"));
  auto metadata =
      parse_domain_metadata(after, std::string(PVSCHED_SOURCE_ROOT) + "/xml-schemas/pvsched-domain-1.0.rng");
  CHECK(ok(metadata));
  CHECK(metadata->config.has_value());
}

TEST(Setup, a_second_time_changes_nothing) {
  for (const char* xml : {kPlain, kFull}) {
    const std::string after = added(xml, options);
    auto again = add_pvsched(after, options);
    CHECK(ok(again));
    CHECK_FALSE(again->changed());
  }
  options.qmp_socket = "/elsewhere/vm1.sock";
  const std::string after = added(kFull, options);
  CHECK_FALSE(add_pvsched(after, options)->changed());
  STRCMP_EQUAL(kFull, remove_pvsched(after, options.qmp_socket)->after.c_str());
}

TEST(Setup, keeps_what_is_there) {
  const std::string after = added(kFull, options);
  CHECK(has(after, "<app:note xmlns:app=\"http://example.org/app\">keep me</app:note>"));
  CHECK(has(after, "<q:arg value=\"pvpanic\"/>"));
  CHECK(has(after, "<q:env name=\"A\" value=\"b\"/>"));
  CHECK(has(after, "<q:arg value=\"-plugin\"/>"));
}

TEST(Setup, removal_gives_back_what_was) {
  STRCMP_EQUAL(kFull, remove_pvsched(added(kFull, options))->after.c_str());
  const std::string plain = remove_pvsched(added(kPlain, options))->after;
  CHECK_FALSE(has(plain, "pvsched"));
  CHECK_FALSE(has(plain, "commandline"));
  CHECK_FALSE(has(plain, "metadata"));
  CHECK_FALSE(remove_pvsched(kFull)->changed());
}

TEST(Setup, a_plugin_that_moved_is_put_right) {
  const std::string before = added(kPlain, options);
  options.plugin = "/opt/pvsched.so";
  const std::string after = added(before, options);
  CHECK(has(after, "<qemu:arg value=\"/opt/pvsched.so\"/>"));
  CHECK_FALSE(has(after, "/usr/lib/qemu"));
}

TEST(Setup, an_element_that_is_there_is_kept_and_a_given_one_is_used) {
  options = SetupOptions();
  options.element = std::string("<x:pvsched xmlns:x=\"") + kMetadataUri + "\" enabled=\"no\"/>";
  const std::string first = added(kPlain, options);
  CHECK(has(first, "enabled=\"no\""));
  CHECK_FALSE(has(first, "commandline"));
  options.element.clear();
  CHECK_FALSE(add_pvsched(first, options)->changed());
}

TEST(Setup, what_is_no_domain_is_refused) {
  CHECK_FALSE(add_pvsched("<network/>", options));
  CHECK_FALSE(add_pvsched("rubbish", options));
  CHECK_FALSE(remove_pvsched(""));
  options.element = "<other/>";
  CHECK_FALSE(add_pvsched(kPlain, options));
}

TEST(Setup, the_diff_is_unified) {
  STRCMP_EQUAL("", unified_diff("a\n", "a\n", "n").c_str());
  STRCMP_EQUAL("--- n (now)\n+++ n (then)\n@@ -2,6 +2,7 @@\n 2\n 3\n 4\n+new\n 5\n 6\n 7\n",
               unified_diff("1\n2\n3\n4\n5\n6\n7\n8\n", "1\n2\n3\n4\nnew\n5\n6\n7\n8\n", "n").c_str());
  STRCMP_EQUAL("--- n (now)\n+++ n (then)\n@@ -1,1 +1,1 @@\n-a\n+b\n", unified_diff("a\n", "b\n", "n").c_str());
}
