// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/log.h"

#include <cstdlib>
#include <memory>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/systemd_sink.h>
#include <spdlog/spdlog.h>

namespace pvsched {
namespace {

spdlog::level::level_enum spd_level(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

}  // namespace

Result<LogLevel> parse_log_level(const std::string& text) {
  if (text == "debug") return LogLevel::kDebug;
  if (text == "info") return LogLevel::kInfo;
  if (text == "warning") return LogLevel::kWarning;
  if (text == "error") return LogLevel::kError;
  return Error("'" + text + "' is no log level: allowed are debug, info, warning, error", EINVAL);
}

Status start_log(const std::string& target, LogLevel level) {
  const bool journal = target == "journal" || (target == "auto" && std::getenv("JOURNAL_STREAM") != nullptr);
  std::shared_ptr<spdlog::logger> logger;
  if (journal) {
    logger = std::make_shared<spdlog::logger>("pvschedd", std::make_shared<spdlog::sinks::systemd_sink_mt>("pvschedd"));
    logger->set_pattern("%v");
  } else if (target == "stderr" || target == "auto") {
    logger = std::make_shared<spdlog::logger>("pvschedd", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %l: %v");
  } else {
    return Error("'" + target + "' is no log target: allowed are auto, journal, stderr", EINVAL);
  }
  logger->flush_on(spdlog::level::debug);
  spdlog::set_default_logger(logger);
  set_log_level(level);
  return {};
}

void set_log_level(LogLevel level) { spdlog::set_level(spd_level(level)); }

void log_line(LogLevel level, const std::string& sentence) {
  spdlog::log(spd_level(level), spdlog::string_view_t(sentence));
}

}  // namespace pvsched
