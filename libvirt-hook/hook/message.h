// SPDX-License-Identifier: GPL-2.0-or-later
// What the hook says to pvschedd and hears from it: one JSON line each way.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace pvsched::hook {

inline constexpr std::size_t kMaxReplyBytes = 64 << 10;

/// libvirt's hook arguments and the domain's XML.
struct Call {
  std::string_view name;
  std::string_view operation;
  std::string_view sub;
  std::string_view extra;
  std::string_view xml;
};

struct Reply {
  bool ok = true;
  std::string message;  ///< why not ok
  std::vector<std::string> warnings;
};

/// Whether pvschedd wants to know of the operation.
bool forwards(std::string_view operation);

/// Whether a non-zero exit aborts the operation without harm. After `started` and `reconnect` it would kill a running
/// VM, with `migrate` spoil a migration.
bool may_refuse(std::string_view operation);

/// {"op":"hook","name":…,"operation":…,"sub":…,"extra":…,"xml":…} and a newline. Bytes that are not UTF-8 become
/// U+FFFD.
std::string request_line(const Call& call);

/// Reads {"ok":true,"warnings":[…]} or {"ok":false,"message":…}. Errors: anything else.
Result<Reply> read_reply(std::string_view line);

/// Foreign text as one line: control characters become spaces, at most `limit` bytes.
std::string one_line(std::string_view text, std::size_t limit = 4000);

}  // namespace pvsched::hook
