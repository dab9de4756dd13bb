// SPDX-License-Identifier: GPL-2.0-or-later
#include "qmp/qmp.h"

namespace pvsched {

Result<Json> qmp_result(const std::string& command, const Json& reply) {
  if (reply.is_object()) {
    if (auto it = reply.find("return"); it != reply.end()) return *it;
    const Json& error = member(reply, "error");
    if (error.is_object()) {
      const auto kind = string_member(error, "class").value_or("GenericError");
      const auto text = string_member(error, "desc").value_or("no description");
      return Error("QEMU refused " + command + ": " + printable(text) + " (" + printable(kind, 40) + ")", kQmpRefused);
    }
  }
  return Error("QEMU's reply to " + command + " has neither return nor error", EPROTO);
}

std::string qmp_request(const std::string& command, const Json& arguments, const std::string& id) {
  Json request;
  request["execute"] = command;
  if (!arguments.is_null()) request["arguments"] = arguments;
  if (!id.empty()) request["id"] = id;
  return dump_json(request);
}

}  // namespace pvsched
