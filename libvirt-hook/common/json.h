// SPDX-License-Identifier: GPL-2.0-or-later
// JSON without exceptions: parsing of text that may be hostile, and reading of members that may be missing or of
// another type.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "common/result.h"

namespace pvsched {

using Json = nlohmann::json;

/// Errors: not JSON, or nested deeper than 64.
Result<Json> parse_json(std::string_view text);

/// One line without line breaks; bytes that are not UTF-8 are replaced.
std::string dump_json(const Json& value);

/// The member `key` of an object, or null where `value` is no object or has no such member.
const Json& member(const Json& value, const char* key);

/// The member as the type asked for, where it is there and of that type (and, for numbers, in range).
std::optional<std::string> string_member(const Json& value, const char* key);
std::optional<std::int64_t> int_member(const Json& value, const char* key);
std::optional<bool> bool_member(const Json& value, const char* key);

/// Text of foreign origin, fit for one log line: control characters and non-ASCII become '?', cut at `limit`.
std::string printable(std::string_view text, std::size_t limit = 200);

}  // namespace pvsched
