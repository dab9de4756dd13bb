// SPDX-License-Identifier: GPL-2.0-or-later
// The one table of the pvsched element's children and attributes: the reader takes its checks and sentences from it,
// to_xml its names, docs/metadata.md its reference table, and the tests hold the schema against it.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace pvsched {

/// What an attribute's value is, and what its std::int64_t means once read.
enum class ValueKind {
  Choice,  ///< index into `choices`
  Integer,  ///< the number
  Time,  ///< nanoseconds; written as a whole number in the unit of the element's `unit` attribute
  Name,  ///< a string: see valid_name()
  Cpus,  ///< a string: see parse_cpus()
};

struct AttributeInfo {
  std::string_view element;
  std::string_view name;
  ValueKind kind = ValueKind::Integer;
  std::int64_t min = 0;  ///< Integer, Time
  std::int64_t max = 0;  ///< Integer, Time
  std::int64_t fallback = 0;  ///< the default, in the value's own meaning
  std::array<std::string_view, 3> choices{};  ///< Choice: the empty ones are none
  bool mandatory = false;  ///< no default
  std::string_view fallback_name{};  ///< Name: the default; empty: none
  std::string_view meaning;
};

struct ElementInfo {
  std::string_view name;
  bool repeats = false;  ///< may appear more than once
};

inline constexpr std::string_view kRootElement = "pvsched";
inline constexpr std::string_view kDefaultPolicy = "latency";
inline constexpr std::array<std::string_view, 3> kUnits = {"us", "ms", "s"};
inline constexpr std::array<std::int64_t, 3> kUnitNs = {1000, 1000000, 1000000000};
inline constexpr std::int64_t kYes = 0;  ///< index of "yes" in a yes-or-no Choice

/// Every attribute, in the order of the documentation.
std::span<const AttributeInfo> attribute_table();

/// The children that a pvsched element may have, in the order of the documentation.
std::span<const ElementInfo> child_table();

/// The entry, or nullptr.
const AttributeInfo* find_attribute(std::string_view element, std::string_view name);

/// [a-z][a-z0-9-]{0,30}
bool valid_name(std::string_view text);

/// "500 us", "2 ms", "10 s": the largest unit that holds the whole time. Below 1 us: "0".
std::string format_time(std::int64_t ns);

/// What is allowed, as it stands in sentences and in the documentation: "0 to 98", "yes or no", "10 us to 10 s".
std::string allowed_text(const AttributeInfo& info);

/// The default as it stands in the documentation: "50", "yes", "2 ms", or "none" where there is none.
std::string default_text(const AttributeInfo& info);

/// The reference table of docs/metadata.md, in Markdown, lines ended by '\n'.
std::string reference_table();

}  // namespace pvsched
