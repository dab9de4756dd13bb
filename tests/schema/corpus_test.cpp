// SPDX-License-Identifier: GPL-2.0-or-later
// Reads every document of the corpus in this folder. The end of a file's name says what is expected:
//
//   *-valid.xml      no fault; *-valid.expect holds the configuration as to_xml() writes it
//   *-invalid.xml    *-invalid.expect holds the faults, one a line; a first line "# schema accepts" marks faults that
//                    RelaxNG cannot express
//   *-absent.xml     no pvsched element
//   *-malformed.xml  not to be parsed; *-malformed.expect holds the error
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "metadata/domain_config.h"
#include "schema_test.h"

// Last: it redefines new.
#include <CppUTest/TestHarness.h>

namespace fs = std::filesystem;

namespace {

const char* const kCorpus = PVSCHED_SOURCE_ROOT "/tests/schema";

std::vector<fs::path> documents(const std::string& ending) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(kCorpus)) {
    if (entry.path().filename().string().ends_with(ending + ".xml")) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::string expectation(fs::path document) { return read_source_file(document.replace_extension(".expect")); }

pvsched::DomainMetadata parse(const fs::path& document) {
  auto result = pvsched::parse_domain_metadata(read_source_file(document), schema_path());
  if (!result) FAIL((document.filename().string() + ": " + result.error().text()).c_str());
  return result.take();
}

}  // namespace

// clang-format off
TEST_GROUP(SchemaCorpus){};
// clang-format on

TEST(SchemaCorpus, IsThereAndEachFileSaysWhatIsExpected) {
  CHECK_COMPARE(documents("-valid").size(), >=, 15);
  CHECK_COMPARE(documents("-invalid").size(), >=, 30);
  CHECK_COMPARE(documents("-absent").size(), >=, 1);
  CHECK_COMPARE(documents("-malformed").size(), >=, 1);
  std::size_t known = documents("-valid").size() + documents("-invalid").size() + documents("-absent").size() +
                      documents("-malformed").size();
  LONGS_EQUAL_TEXT(documents("").size(), known, "a document's name does not say what is expected");
  for (const auto& entry : fs::directory_iterator(kCorpus)) {
    if (entry.path().extension() == ".expect") {
      CHECK_TEXT(fs::exists(fs::path(entry.path()).replace_extension(".xml")), entry.path().c_str());
    }
  }
}

TEST(SchemaCorpus, ValidDocumentsAreReadAsExpected) {
  for (const fs::path& document : documents("-valid")) {
    pvsched::DomainMetadata metadata = parse(document);
    CHECK_TEXT(metadata.present, document.c_str());
    STRCMP_EQUAL_TEXT("", metadata.explain().c_str(), document.c_str());
    CHECK_TEXT(metadata.config.has_value(), document.c_str());
    STRCMP_EQUAL_TEXT(expectation(document).c_str(), pvsched::to_xml(*metadata.config).c_str(), document.c_str());
    CHECK_TEXT(relaxng_accepts(read_source_file(document)), document.c_str());
  }
}

TEST(SchemaCorpus, ValidDocumentsSurviveTheRoundTrip) {
  for (const fs::path& document : documents("-valid")) {
    std::string written = pvsched::to_xml(*parse(document).config);
    auto again = pvsched::parse_domain_metadata(written, schema_path());
    CHECK_TEXT(again && again->config, document.c_str());
    STRCMP_EQUAL_TEXT(written.c_str(), pvsched::to_xml(*again->config).c_str(), document.c_str());
  }
}

TEST(SchemaCorpus, InvalidDocumentsGiveTheExpectedSentences) {
  const std::string mark = "# schema accepts\n";
  for (const fs::path& document : documents("-invalid")) {
    std::string expected = expectation(document);
    bool schema_accepts = expected.starts_with(mark);
    if (schema_accepts) expected.erase(0, mark.size());
    CHECK_TEXT(!expected.empty(), document.c_str());
    pvsched::DomainMetadata metadata = parse(document);
    CHECK_TEXT(metadata.present, document.c_str());
    CHECK_TEXT(!metadata.config.has_value(), document.c_str());
    std::string found;
    for (const pvsched::Fault& fault : metadata.faults) found += fault.text + "\n";
    STRCMP_EQUAL_TEXT(expected.c_str(), found.c_str(), document.c_str());
    CHECK_EQUAL_TEXT(schema_accepts, relaxng_accepts(read_source_file(document)), document.c_str());
  }
}

TEST(SchemaCorpus, AbsentMeansNeitherConfigurationNorFault) {
  for (const fs::path& document : documents("-absent")) {
    pvsched::DomainMetadata metadata = parse(document);
    CHECK_TEXT(!metadata.present && !metadata.config && metadata.faults.empty(), document.c_str());
  }
}

TEST(SchemaCorpus, MalformedDocumentsAreErrors) {
  for (const fs::path& document : documents("-malformed")) {
    auto result = pvsched::parse_domain_metadata(read_source_file(document), schema_path());
    CHECK_TEXT(!result, document.c_str());
    STRCMP_EQUAL_TEXT(expectation(document).c_str(), (result.error().text() + "\n").c_str(), document.c_str());
  }
}

TEST(SchemaCorpus, ExamplesForUsersAreValid) {
  std::size_t examples = 0;
  for (const auto& entry : fs::directory_iterator(PVSCHED_SOURCE_ROOT "/xml-schemas/examples")) {
    if (entry.path().extension() != ".xml") continue;
    ++examples;
    pvsched::DomainMetadata metadata = parse(entry.path());
    CHECK_TEXT(metadata.present, entry.path().c_str());
    STRCMP_EQUAL_TEXT("", metadata.explain().c_str(), entry.path().c_str());
  }
  CHECK_COMPARE(examples, >=, 2);
}
