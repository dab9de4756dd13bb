// SPDX-License-Identifier: GPL-2.0-or-later
// The constants of policy.h, the schema and docs/metadata.md say the same. The reader's table is made of the
// constants; here the schema is probed at and beyond each limit, and the documentation is compared word by word.
#include <set>
#include <string>

#include <libxml/parser.h>
#include <libxml/xpath.h>
#include <libxml/xpathInternals.h>

#include "metadata/attributes.h"
#include "metadata/domain_config.h"
#include "schema_test.h"

// Last: it redefines new.
#include <CppUTest/TestHarness.h>

using pvsched::AttributeInfo;
using pvsched::ValueKind;

namespace {

/// A document with this one attribute set, with `extra` beside it.
std::string document(const AttributeInfo& info, const std::string& value, const std::string& extra = "") {
  std::string attributes = " " + std::string(info.name) + "=\"" + value + "\"" + extra;
  std::string open = "<p:pvsched xmlns:p=\"" + std::string(pvsched::kMetadataUri) + "\"";
  if (info.element == pvsched::kRootElement) return open + attributes + "/>";
  return open + "><p:" + std::string(info.element) + attributes + "/></p:pvsched>";
}

void check(bool expected, const std::string& xml) { CHECK_EQUAL_TEXT(expected, relaxng_accepts(xml), xml.c_str()); }

/// What else the element needs: vcpu its id, cpus what it prefers.
std::string needed(const AttributeInfo& info) {
  if (info.mandatory) return "";
  return info.element == "vcpu"     ? " id=\"0\""
         : info.element == "cpus"   ? " prefer=\"0\""
         : info.element == "thread" ? " kind=\"emulator\""
                                    : "";
}

}  // namespace

// clang-format off
TEST_GROUP(SchemaAgreement){};
// clang-format on

TEST(SchemaAgreement, RangesOfIntegers) {
  for (const AttributeInfo& info : pvsched::attribute_table()) {
    if (info.kind != ValueKind::Integer) continue;
    check(true, document(info, std::to_string(info.min), needed(info)));
    check(true, document(info, std::to_string(info.max), needed(info)));
    check(false, document(info, std::to_string(info.min - 1), needed(info)));
    check(false, document(info, std::to_string(info.max + 1), needed(info)));
    check(false, document(info, "x", needed(info)));
  }
}

TEST(SchemaAgreement, RangesOfTimesInEveryUnit) {
  for (const AttributeInfo& info : pvsched::attribute_table()) {
    if (info.kind != ValueKind::Time) continue;
    for (std::size_t i = 0; i < pvsched::kUnits.size(); ++i) {
      std::int64_t unit = pvsched::kUnitNs[i];
      std::int64_t min = (info.min + unit - 1) / unit;
      std::int64_t max = info.max / unit;
      std::string extra = " unit=\"" + std::string(pvsched::kUnits[i]) + "\"";
      check(true, document(info, std::to_string(min), extra));
      check(true, document(info, std::to_string(max), extra));
      check(false, document(info, std::to_string(min - 1), extra));
      check(false, document(info, std::to_string(max + 1), extra));
      check(false, document(info, std::to_string(min) + ".5", extra));
    }
  }
}

TEST(SchemaAgreement, TimesWithoutUnitAreInTheDefaultUnit) {
  for (const AttributeInfo& info : pvsched::attribute_table()) {
    if (info.kind != ValueKind::Time) continue;
    const AttributeInfo* unit = pvsched::find_attribute(info.element, "unit");
    CHECK(unit != nullptr);
    std::int64_t max = info.max / pvsched::kUnitNs.at(static_cast<std::size_t>(unit->fallback));
    check(true, document(info, std::to_string(max)));
    check(false, document(info, std::to_string(max + 1)));
  }
}

TEST(SchemaAgreement, Choices) {
  for (const AttributeInfo& info : pvsched::attribute_table()) {
    if (info.kind != ValueKind::Choice) continue;
    for (std::string_view choice : info.choices) {
      if (!choice.empty()) check(true, document(info, std::string(choice), needed(info)));
    }
    check(false, document(info, "neither", needed(info)));
    check(false, document(info, "", needed(info)));
  }
}

TEST(SchemaAgreement, Names) {
  for (const AttributeInfo& info : pvsched::attribute_table()) {
    if (info.kind != ValueKind::Name) continue;
    for (const char* name : {"latency", "a", "a-9", "-a", "9a", "A", "a_b", "", "a.b",
                             "abcdefghijklmnopqrstuvwxyz-0123", "abcdefghijklmnopqrstuvwxyz-01234"}) {
      check(pvsched::valid_name(name), document(info, name, needed(info)));
    }
  }
}

TEST(SchemaAgreement, Cpus) {
  const AttributeInfo* info = pvsched::find_attribute("cpus", "prefer");
  CHECK(info != nullptr);
  for (const char* cpus : {"0", "0-3,8", "1,3,5-7", "1023", "", "-1", "1-", "1,,2", "01", "0x1", "1 2", "3,"})
    check(pvsched::parse_cpus(cpus).has_value(), document(*info, cpus));
}

/// Each attribute and child that the schema declares is in the table, with the same default, and the other way round.
TEST(SchemaAgreement, NamesAndDefaultsInTheSchema) {
  xmlDoc* schema = xmlReadFile(schema_path().c_str(), nullptr, XML_PARSE_NONET);
  CHECK(schema != nullptr);
  xmlXPathContext* xpath = xmlXPathNewContext(schema);
  xmlXPathRegisterNs(xpath, BAD_CAST "r", BAD_CAST "http://relaxng.org/ns/structure/1.0");
  xmlXPathRegisterNs(xpath, BAD_CAST "a", BAD_CAST "http://relaxng.org/ns/compatibility/annotations/1.0");
  auto evaluate = [&](const std::string& expression) {
    xmlXPathObject* object = xmlXPathEvalExpression(BAD_CAST expression.c_str(), xpath);
    CHECK_TEXT(object != nullptr, expression.c_str());
    xmlChar* text = xmlXPathCastToString(object);
    std::string result(reinterpret_cast<const char*>(text));
    xmlFree(text);
    xmlXPathFreeObject(object);
    return result;
  };
  std::size_t children = 0;
  for (const pvsched::ElementInfo& child : pvsched::child_table()) {
    std::string name(child.name);
    ++children;
    STRCMP_EQUAL_TEXT("1", evaluate("count(//r:element[@name='" + name + "'])").c_str(), name.c_str());
    std::string wrapped = child.repeats ? "zeroOrMore" : "optional";
    STRCMP_EQUAL_TEXT("1", evaluate("count(//r:interleave/r:" + wrapped + "/r:ref[@name='" + name + "'])").c_str(),
                      name.c_str());
  }
  STRCMP_EQUAL(std::to_string(children + 1).c_str(), evaluate("count(//r:element)").c_str());
  std::set<std::string_view> names;
  for (const AttributeInfo& info : pvsched::attribute_table()) {
    names.insert(info.name);
    std::string element(info.element);
    // Parts shared by elements are behind references: there the default stands in the element's documentation.
    std::string attribute = "//r:element[@name='" + element + "']//r:attribute[@name='" + std::string(info.name) + "']";
    if (evaluate("count(" + attribute + ")") == "0" || info.name == "unit") continue;
    std::string declared = evaluate("string(" + attribute + "[@a:defaultValue]/@a:defaultValue)");
    const bool none = info.mandatory || (info.kind == ValueKind::Name && info.fallback_name.empty());
    std::string expected = none ? "" : pvsched::default_text(info);
    if (info.kind == ValueKind::Time) expected = std::to_string(info.fallback / pvsched::kUnitNs[1]);
    STRCMP_EQUAL_TEXT(expected.c_str(), declared.c_str(), attribute.c_str());
  }
  for (const char* element : {"hold", "inject"}) {
    const AttributeInfo* info = pvsched::find_attribute(element, "time");
    CHECK(info != nullptr);
    std::string text = evaluate("string(//r:element[@name='" + std::string(element) + "']/a:documentation)");
    std::string expected = pvsched::allowed_text(*info) + ", default " + pvsched::default_text(*info) + ".";
    CHECK_TEXT(text.ends_with(expected), (text + "\nshould end with: " + expected).c_str());
  }
  for (std::string_view name : names) {
    CHECK_TEXT(evaluate("count(//r:attribute[@name='" + std::string(name) + "'])") != "0", std::string(name).c_str());
  }
  std::string others = "count(//r:attribute[not(";
  for (std::string_view name : names) others += "@name='" + std::string(name) + "' or ";
  STRCMP_EQUAL_TEXT("0", evaluate(others + "false())])").c_str(), "an attribute of the schema is not in the table");
  xmlXPathFreeContext(xpath);
  xmlFreeDoc(schema);
}

TEST(SchemaAgreement, ReferenceTableInTheDocumentation) {
  std::string page = read_source_file(PVSCHED_SOURCE_ROOT "/docs/metadata.md");
  std::string table = pvsched::reference_table();
  CHECK_TEXT(page.find(table) != std::string::npos, ("docs/metadata.md should contain:\n" + table).c_str());
}

TEST(SchemaAgreement, ExamplesInTheDocumentationAreValid) {
  std::string page = read_source_file(PVSCHED_SOURCE_ROOT "/docs/metadata.md");
  std::size_t examples = 0;
  const std::string fence = "```xml\n";
  for (std::size_t at = page.find(fence); at != std::string::npos; at = page.find(fence, at)) {
    at += fence.size();
    std::size_t end = page.find("```", at);
    CHECK(end != std::string::npos);
    std::string example = page.substr(at, end - at);
    auto result = pvsched::parse_domain_metadata(example, schema_path());
    CHECK_TEXT(result && result->config, example.c_str());
    ++examples;
    at = end;
  }
  CHECK_COMPARE(examples, >=, 2);
}
