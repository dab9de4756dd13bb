// SPDX-License-Identifier: GPL-2.0-or-later
#include "metadata/domain_config.h"

// Last: it redefines new.
#include <CppUTest/TestHarness.h>

using namespace pvsched;  // NOLINT: the tests' own

// clang-format off
TEST_GROUP(MetadataConfig){};
// clang-format on

TEST(MetadataConfig, DefaultsAreTheConstants) {
  pvs_limits limits = default_limits();
  UNSIGNED_LONGLONGS_EQUAL(PVS_CRITICAL_NS_DEFAULT, limits.critical_ns);
  UNSIGNED_LONGLONGS_EQUAL(PVS_TOTAL_NS_DEFAULT, limits.total_ns);
  UNSIGNED_LONGLONGS_EQUAL(PVS_THROTTLE_NS_DEFAULT, limits.throttle_ns);
  UNSIGNED_LONGLONGS_EQUAL(PVS_HOLD_NS_DEFAULT, limits.hold_ns);
  UNSIGNED_LONGLONGS_EQUAL(PVS_INJECT_NS_DEFAULT, limits.inject_ns);
  LONGS_EQUAL(1, limits.enabled);
  LONGS_EQUAL(PVSCHED_SCHED_FIFO, limits.rt_policy);
  LONGS_EQUAL(PVS_RT_MAX_DEFAULT, limits.rt_max);
  LONGS_EQUAL(PVS_RT_CRITICAL_DEFAULT, limits.rt_critical);
  LONGS_EQUAL(PVS_NICE_MIN_DEFAULT, limits.nice_min);
  LONGS_EQUAL(0, limits.placement);
  LONGS_EQUAL(0, limits.debug);
}

TEST(MetadataConfig, OnlyNamedVcpusAreOff) {
  DomainConfig config;
  config.vcpus = {{1, false}, {2, true}};
  CHECK_TRUE(config.vcpu_enabled(0));
  CHECK_FALSE(config.vcpu_enabled(1));
  CHECK_TRUE(config.vcpu_enabled(2));
}

TEST(MetadataConfig, ExplainJoinsTheFaults) {
  DomainMetadata metadata;
  STRCMP_EQUAL("", metadata.explain().c_str());
  metadata.faults = {{1, "line 1: a"}, {2, "line 2: b"}};
  STRCMP_EQUAL("line 1: a; line 2: b", metadata.explain().c_str());
}

TEST(MetadataConfig, XmlUsesOneUnitPerElement) {
  DomainConfig config;
  config.limits.critical_ns = 1500000;
  config.limits.total_ns = 2000000000;
  std::string xml = to_xml(config);
  CHECK(xml.find("<pvsched:boost critical=\"1500\" total=\"2000000\" unit=\"us\"/>") != std::string::npos);
}

TEST(MetadataConfig, XmlEscapesTheName) {
  DomainConfig config;
  config.policy = "a\"<&";
  CHECK(to_xml(config).find("name=\"a&quot;&lt;&amp;\"") != std::string::npos);
}
