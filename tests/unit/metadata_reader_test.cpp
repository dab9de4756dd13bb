// SPDX-License-Identifier: GPL-2.0-or-later
// Hostile and odd documents; the plain cases are in tests/schema.
#include <string>

#include "metadata/domain_config.h"

// Last: it redefines new.
#include <CppUTest/TestHarness.h>

using namespace pvsched;  // NOLINT: the tests' own

namespace {

const std::string kSchema = PVSCHED_SOURCE_ROOT "/xml-schemas/pvsched-domain-1.0.rng";
const std::string kOpen = "<p:pvsched xmlns:p=\"" + std::string(kMetadataUri) + "\"";

std::string error_of(const std::string& xml) {
  auto result = parse_domain_metadata(xml, kSchema);
  return result ? "" : result.error().text();
}

DomainMetadata read(const std::string& xml) {
  auto result = parse_domain_metadata(xml, kSchema);
  if (!result) FAIL(result.error().text().c_str());
  return result.take();
}

}  // namespace

// clang-format off
TEST_GROUP(MetadataReader){};
// clang-format on

TEST(MetadataReader, EmptyIsAnError) { STRCMP_EQUAL("the XML document is empty", error_of("").c_str()); }

TEST(MetadataReader, TooLongIsAnError) {
  std::string xml = kOpen + "/>" + std::string(kMaxXmlBytes, ' ');
  STRCMP_CONTAINS("allowed are 8388608", error_of(xml).c_str());
  xml.resize(kMaxXmlBytes);
  STRCMP_EQUAL("", error_of(xml).c_str());
}

TEST(MetadataReader, BytesThatAreNoTextAreAnError) {
  STRCMP_CONTAINS("line 1: not well-formed XML", error_of(std::string("<a>\0</a>", 8)).c_str());
  STRCMP_CONTAINS("line 1: not well-formed XML", error_of("<a>\xff\xfe</a>").c_str());
  STRCMP_CONTAINS("not well-formed XML", error_of("just text").c_str());
}

TEST(MetadataReader, DoctypeIsRefusedBeforeAnyEntityCounts) {
  std::string bomb = "<!DOCTYPE a [<!ENTITY a0 \"ha\">";
  for (int i = 1; i < 30; ++i) {
    std::string one = "&a" + std::to_string(i - 1) + ";";
    bomb += "<!ENTITY a" + std::to_string(i) + " \"" + one + one + "\">";
  }
  bomb += "]>" + kOpen + " enabled=\"&a29;\"/>";
  STRCMP_EQUAL("the XML document has a DOCTYPE, which is not accepted", error_of(bomb).c_str());
  STRCMP_EQUAL("the XML document has a DOCTYPE, which is not accepted",
               error_of("<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>").c_str());
}

TEST(MetadataReader, DeepNestingIsAnError) {
  std::string xml;
  for (int i = 0; i < 100000; ++i) xml += "<a>";
  STRCMP_CONTAINS("not well-formed XML", error_of(xml).c_str());
}

TEST(MetadataReader, SchemaThatCannotBeReadIsAnError) {
  auto result = parse_domain_metadata(kOpen + "/>", "/nonexistent/schema.rng");
  CHECK_FALSE(result);
  STRCMP_CONTAINS("schema /nonexistent/schema.rng: ", result.error().text().c_str());
  CHECK_TRUE(parse_domain_metadata("<domain/>", "/nonexistent/schema.rng"));
}

TEST(MetadataReader, FileThatIsNoSchemaIsAnError) {
  const std::string path = PVSCHED_SOURCE_ROOT "/tests/schema/minimal-valid.xml";
  auto result = parse_domain_metadata(kOpen + "/>", path);
  CHECK_FALSE(result);
  STRCMP_EQUAL(("schema " + path + ": not a RelaxNG schema").c_str(), result.error().text().c_str());
}

TEST(MetadataReader, RequiredIsReadAlsoFromAWrongElement) {
  CHECK_TRUE(read(kOpen + " required=\"yes\"><p:debug level=\"9\"/></p:pvsched>").required);
  CHECK_FALSE(read(kOpen + " required=\"maybe\"><p:debug level=\"9\"/></p:pvsched>").required);
  CHECK_FALSE(read(kOpen + "><p:debug level=\"9\"/></p:pvsched>").required);
}

TEST(MetadataReader, DisabledReachesTheLimits) {
  DomainMetadata metadata = read(kOpen + " enabled=\"no\"/>");
  CHECK_TRUE(metadata.config.has_value());
  CHECK_FALSE(metadata.config->enabled);
  LONGS_EQUAL(0, metadata.config->limits.enabled);
}

TEST(MetadataReader, FaultsAreCutOff) {
  std::string xml = kOpen + ">\n";
  for (int i = 0; i < 1000; ++i) xml += "<p:none/>\n";
  DomainMetadata metadata = read(xml + "</p:pvsched>");
  LONGS_EQUAL(kMaxFaults + 1, metadata.faults.size());
  LONGS_EQUAL(2, metadata.faults.front().line);
  STRCMP_EQUAL("line 22: more faults follow; the first 20 are shown", metadata.faults.back().text.c_str());
}

TEST(MetadataReader, QuotedValuesAreShortAndOfOneLine) {
  std::string value = "a&#10;b" + std::string(100, 'x');
  DomainMetadata metadata = read(kOpen + " enabled=\"" + value + "\"/>");
  LONGS_EQUAL(1, metadata.faults.size());
  std::string expected =
      "line 1: <pvsched> attribute enabled=\"a?b" + std::string(37, 'x') + "...\": allowed is yes or no";
  STRCMP_EQUAL(expected.c_str(), metadata.faults.front().text.c_str());
}

TEST(MetadataReader, QuotedValuesAreNotCutWithinACharacter) {
  std::string value(39, 'x');
  DomainMetadata metadata = read(kOpen + " enabled=\"" + value + "\u00e4\u00e4\"/>");
  STRCMP_CONTAINS(("\"" + value + "...\"").c_str(), metadata.faults.front().text.c_str());
}

TEST(MetadataReader, LinesCountAlsoBeyond65535) {
  std::string xml =
      "<domain><metadata>" + std::string(70000, '\n') + kOpen + "\n\n  enabled=\n\"x\"\n/></metadata></domain>";
  DomainMetadata metadata = read(xml);
  LONGS_EQUAL(1, metadata.faults.size());
  LONGS_EQUAL(70003, metadata.faults.front().line);
}

TEST(MetadataReader, LinesWithValuesThatLookLikeAttributes) {
  std::string xml = kOpen + "\n  required='no enabled=\"\n>'\n  enabled='2'/>";
  DomainMetadata metadata = read(xml);
  LONGS_EQUAL(2, metadata.faults.size());
  LONGS_EQUAL(4, metadata.faults[0].line);
  LONGS_EQUAL(2, metadata.faults[1].line);
}

TEST(MetadataReader, OtherEncodingsAreReadToo) {
  std::string xml = "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n<domain><name>\xe4</name><metadata>\n" + kOpen +
                    " enabled=\"\xe4\"/></metadata></domain>";
  DomainMetadata metadata = read(xml);
  LONGS_EQUAL(1, metadata.faults.size());
  STRCMP_EQUAL("line 3: <pvsched> attribute enabled=\"\u00e4\": allowed is yes or no",
               metadata.faults.front().text.c_str());
  CHECK_TRUE(read("\xef\xbb\xbf" + kOpen + "/>").config.has_value());
}

TEST(MetadataReader, LibvirtsFormIsRead) {
  // As virDomainGetMetadata returns an element that virDomainSetMetadata was given without a prefix.
  DomainMetadata metadata =
      read(kOpen + " xmlns:pvsched=\"" + std::string(kMetadataUri) + "\"><pvsched:debug level=\"2\"/></p:pvsched>");
  CHECK_TRUE(metadata.config.has_value());
  LONGS_EQUAL(2, metadata.config->limits.debug);
}

TEST(MetadataReader, ManyVcpus) {
  std::string xml = kOpen + ">";
  for (int i = 0; i < PVSCHED_MAX_SLOTS; ++i) xml += "<p:vcpu id=\"" + std::to_string(i) + "\" enabled=\"no\"/>";
  DomainMetadata metadata = read(xml + "</p:pvsched>");
  CHECK_TRUE(metadata.config.has_value());
  LONGS_EQUAL(PVSCHED_MAX_SLOTS, metadata.config->vcpus.size());
}
