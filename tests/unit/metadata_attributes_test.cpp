// SPDX-License-Identifier: GPL-2.0-or-later
#include "metadata/attributes.h"

// Last: it redefines new.
#include <CppUTest/TestHarness.h>

using namespace pvsched;  // NOLINT: the tests' own

// clang-format off
TEST_GROUP(MetadataAttributes){};
// clang-format on

TEST(MetadataAttributes, TimesAreShownInTheLargestUnitThatHoldsThem) {
  STRCMP_EQUAL("10 us", format_time(10000).c_str());
  STRCMP_EQUAL("1500 us", format_time(1500000).c_str());
  STRCMP_EQUAL("500 ms", format_time(500000000).c_str());
  STRCMP_EQUAL("10 s", format_time(10000000000).c_str());
  STRCMP_EQUAL("0", format_time(0).c_str());
  STRCMP_EQUAL("0", format_time(999).c_str());
}

TEST(MetadataAttributes, EachIsFoundByElementAndName) {
  for (const AttributeInfo& info : attribute_table()) POINTERS_EQUAL(&info, find_attribute(info.element, info.name));
  POINTERS_EQUAL(nullptr, find_attribute("priority", "unit"));
  POINTERS_EQUAL(nullptr, find_attribute("", ""));
}

TEST(MetadataAttributes, DefaultsLieInTheirRanges) {
  for (const AttributeInfo& info : attribute_table()) {
    if (info.mandatory || (info.kind != ValueKind::Integer && info.kind != ValueKind::Time)) continue;
    CHECK(info.fallback >= info.min && info.fallback <= info.max);
  }
  CHECK(valid_name(kDefaultPolicy));
}

TEST(MetadataAttributes, AllowedTexts) {
  STRCMP_EQUAL("yes or no", allowed_text(*find_attribute("pvsched", "enabled")).c_str());
  STRCMP_EQUAL("us, ms or s", allowed_text(*find_attribute("boost", "unit")).c_str());
  STRCMP_EQUAL("-20 to 0", allowed_text(*find_attribute("priority", "nice")).c_str());
  STRCMP_EQUAL("10 us to 10 s", allowed_text(*find_attribute("boost", "total")).c_str());
}
