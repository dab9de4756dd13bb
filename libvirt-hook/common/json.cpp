// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/json.h"

#include <limits>

namespace pvsched {
namespace {

constexpr int kMaxDepth = 64;

// Counts brackets outside strings: the parser itself has no limit, and what it builds is walked recursively.
bool too_deep(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxDepth) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

}  // namespace

Result<Json> parse_json(std::string_view text) {
  if (too_deep(text)) return Error("JSON is nested deeper than " + std::to_string(kMaxDepth), EPROTO);
  Json value = Json::parse(text, nullptr, false);
  if (value.is_discarded()) return Error("not JSON: '" + printable(text, 60) + "'", EPROTO);
  return value;
}

std::string dump_json(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

const Json& member(const Json& value, const char* key) {
  static const Json none;
  if (!value.is_object()) return none;
  auto it = value.find(key);
  return it == value.end() ? none : *it;
}

std::optional<std::string> string_member(const Json& value, const char* key) {
  const Json& found = member(value, key);
  if (!found.is_string()) return std::nullopt;
  return found.get<std::string>();
}

std::optional<std::int64_t> int_member(const Json& value, const char* key) {
  const Json& found = member(value, key);
  if (!found.is_number_integer()) return std::nullopt;
  if (found.is_number_unsigned() &&
      found.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
    return std::nullopt;
  return found.get<std::int64_t>();
}

std::optional<bool> bool_member(const Json& value, const char* key) {
  const Json& found = member(value, key);
  if (!found.is_boolean()) return std::nullopt;
  return found.get<bool>();
}

std::string printable(std::string_view text, std::size_t limit) {
  std::string out;
  for (char c : text.substr(0, limit)) out += c >= 0x20 && c < 0x7f ? c : '?';
  if (text.size() > limit) out += "...";
  return out;
}

}  // namespace pvsched
