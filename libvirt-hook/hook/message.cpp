// SPDX-License-Identifier: GPL-2.0-or-later
#include "hook/message.h"

#include <algorithm>
#include <array>

#include "common/json.h"

namespace pvsched::hook {

namespace {

constexpr std::array<std::string_view, 6> kForwarded = {"prepare", "started",   "stopped",
                                                        "release", "reconnect", "migrate"};

}  // namespace

bool forwards(std::string_view operation) { return std::ranges::find(kForwarded, operation) != kForwarded.end(); }

bool may_refuse(std::string_view operation) { return operation == "prepare" || operation == "start"; }

std::string request_line(const Call& call) {
  Json request = {{"op", "hook"},    {"name", call.name},   {"operation", call.operation},
                  {"sub", call.sub}, {"extra", call.extra}, {"xml", call.xml}};
  return dump_json(request) + "\n";
}

Result<Reply> read_reply(std::string_view line) {
  auto json = parse_json(line);
  if (!json) return json.error();
  auto ok = bool_member(*json, "ok");
  if (!ok) return Error("no \"ok\" in the reply", EPROTO);
  Reply reply;
  reply.ok = *ok;
  reply.message = string_member(*json, "message").value_or("");
  if (const Json& warnings = member(*json, "warnings"); warnings.is_array()) {
    for (const Json& warning : warnings) {
      if (warning.is_string()) reply.warnings.push_back(warning.get<std::string>());
    }
  }
  return reply;
}

std::string one_line(std::string_view text, std::size_t limit) {
  std::string line(text.substr(0, limit));
  std::ranges::replace_if(
      line, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
  return line;
}

}  // namespace pvsched::hook
