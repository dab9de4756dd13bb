// SPDX-License-Identifier: GPL-2.0-or-later
// pvschedd.conf: what is taken, and what is said of what is not.
#include "daemon/config.h"

// Last: it redefines new.
#include <CppUTest/TestHarness.h>

using namespace pvsched;

namespace {

ConfigReading read(const std::string& text) { return read_config(text, "f.conf", default_config()); }

std::string fault(const std::string& text) {
  auto reading = read(text);
  return reading.faults.size() == 1 ? reading.faults[0] : std::to_string(reading.faults.size()) + " faults";
}

}  // namespace

// clang-format off
TEST_GROUP(Config){};
// clang-format on

TEST(Config, nothing_means_the_defaults) {
  auto reading = read("");
  CHECK(reading.faults.empty());
  STRCMP_EQUAL("/run/pvsched/pvschedd.sock", reading.config.socket_path().c_str());
  STRCMP_EQUAL("qemu:///system", reading.config.libvirt_uri.c_str());
}

TEST(Config, every_key_is_taken) {
  auto reading = read(
      "# comment\n[daemon]\nrun_dir=/r\nsocket = /s\nschema=/x.rng\nreconcile_seconds=0\n"
      "[policy]\nbpf_object=/o\nkeys=/k\nsigned=required\nguardian=/g\nlease_ms=100\nactuator_priority=90\n"
      "[libvirt]\nuri=none\nrun_dir=/l\n[log]\nlevel=debug\ntarget=stderr\n");
  CHECK(reading.faults.empty());
  const Config& config = reading.config;
  STRCMP_EQUAL("/s", config.socket_path().c_str());
  STRCMP_EQUAL("/r", config.run_dir.c_str());
  STRCMP_EQUAL("/l", config.libvirt_run.c_str());
  STRCMP_EQUAL("/k", config.trust.keys.c_str());
  CHECK(config.trust.signature_required);
  STRCMP_EQUAL("none", config.libvirt_uri.c_str());
  CHECK_EQUAL(0u, config.reconcile_s);
  CHECK_EQUAL(100u, config.lease_ms);
  CHECK_EQUAL(90u, config.actuator_priority);
  CHECK(config.log_level == LogLevel::kDebug);
}

TEST(Config, faults_name_line_value_and_what_is_allowed) {
  STRCMP_EQUAL("f.conf:3: [policy] lease_ms=7: allowed is a whole number from 50 to 10000",
               fault("[policy]\n\nlease_ms=7\n").c_str());
  STRCMP_EQUAL("f.conf:2: [policy] lease_ms=100ms: allowed is a whole number from 50 to 10000",
               fault("[policy]\nlease_ms=100ms\n").c_str());
  STRCMP_EQUAL("f.conf:2: [policy] actuator_priority=-1: allowed is a whole number from 1 to 99",
               fault("[policy]\nactuator_priority=-1\n").c_str());
  STRCMP_EQUAL("f.conf:2: [policy] signed=yes: allowed are optional, required",
               fault("[policy]\nsigned=yes\n").c_str());
  STRCMP_EQUAL("f.conf:2: [policy] keys=keys: allowed is an absolute path", fault("[policy]\nkeys=keys\n").c_str());
  STRCMP_EQUAL("f.conf:2: [policy] actuator=magic: allowed are setattr, scx",
               fault("[policy]\nactuator=magic\n").c_str());
  STRCMP_EQUAL("f.conf:2: [daemon] run_dir=relative: allowed is an absolute path",
               fault("[daemon]\nrun_dir=relative\n").c_str());
  STRCMP_EQUAL("f.conf:2: [log] level=loud: allowed are debug, info, warning, error",
               fault("[log]\nlevel=loud\n").c_str());
  STRCMP_EQUAL("f.conf:2: [log] colour=yes: allowed keys are level target", fault("[log]\ncolour=yes\n").c_str());
  STRCMP_EQUAL("f.conf:1: [extra]: allowed groups are daemon, policy, libvirt, log, tags, tag NAME",
               fault("[extra]\na=b\n").c_str());
  STRCMP_EQUAL("f.conf:2: [libvirt] uri=system: allowed is a libvirt URI, as qemu:///system, or none",
               fault("[libvirt]\nuri=system\n").c_str());
}

TEST(Config, tags_are_names_with_integers) {
  auto reading = read("[tags]\nnight-batch=16\nday=65535\n");
  CHECK(reading.faults.empty());
  CHECK((reading.config.tags == OwnTags{{"night-batch", 16}, {"day", 65535}}));
  STRCMP_EQUAL("f.conf:2: [tags] day=3: allowed is a whole number from 16 to 65535", fault("[tags]\nday=3\n").c_str());
  STRCMP_EQUAL("f.conf:2: [tags] offline=16: this name is known already, as 2", fault("[tags]\noffline=16\n").c_str());
}

TEST(Config, a_tag_may_prefer_cpus) {
  auto reading = read("[tag background]\ncpus=4-7\nbusy=50\n[tag online]\ncpus=1\n");
  CHECK(reading.faults.empty());
  STRCMP_EQUAL("4-7", format_cpus(reading.config.tag_cpus["background"].prefer).c_str());
  LONGS_EQUAL(50, reading.config.tag_cpus["background"].busy);
  LONGS_EQUAL(kBusyDefault, reading.config.tag_cpus["online"].busy);
  STRCMP_EQUAL("f.conf:2: [tag x] cpus=7-4: allowed are CPUs below 1024, as 0-3,8",
               fault("[tag x]\ncpus=7-4\n").c_str());
  STRCMP_EQUAL("f.conf:2: [tag x] busy=0: allowed is a whole number from 1 to 100", fault("[tag x]\nbusy=0\n").c_str());
  STRCMP_EQUAL("f.conf:2: [tag x] nice=0: allowed keys are cpus busy", fault("[tag x]\nnice=0\n").c_str());
}

TEST(Config, all_faults_are_told_and_the_good_keys_taken) {
  auto reading = read("[policy]\nlease_ms=0\nactuator_priority=200\nguardian=/g\n");
  CHECK_EQUAL(2, static_cast<int>(reading.faults.size()));
  STRCMP_EQUAL("/g", reading.config.guardian.c_str());
}

TEST(Config, a_file_that_is_no_key_file_is_one_fault) { CHECK(fault("rubbish\n").rfind("f.conf: ", 0) == 0); }

TEST(Config, a_missing_file_is_a_fault_only_where_it_was_asked_for) {
  CHECK(load_config("/nowhere/x.conf", default_config(), false).faults.empty());
  auto asked = load_config("/nowhere/x.conf", default_config(), true);
  CHECK_EQUAL(1, static_cast<int>(asked.faults.size()));
  STRCMP_EQUAL("/nowhere/x.conf: No such file or directory", asked.faults[0].c_str());
}
