// SPDX-License-Identifier: GPL-2.0-or-later
// The daemon's log: one sentence per event, with the VM's name.
#pragma once

#include <functional>
#include <string>

#include "common/result.h"

namespace pvsched {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

/// Where sentences go; tests collect them.
using LogFn = std::function<void(LogLevel, const std::string&)>;

/// "debug", "info", "warning", "error". Errors: anything else.
Result<LogLevel> parse_log_level(const std::string& text);

/// Sets up the process's log. Target "auto" is the journal where stderr is one ($JOURNAL_STREAM), else stderr.
Status start_log(const std::string& target, LogLevel level);
void set_log_level(LogLevel level);
void log_line(LogLevel level, const std::string& sentence);

}  // namespace pvsched
