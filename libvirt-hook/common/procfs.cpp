// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/procfs.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

namespace pvsched {
namespace {

template <typename T>
std::optional<T> number(std::string_view text) {
  T value{};
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

// Field `n` (from 1) of a stat line; the command name in brackets may hold blanks and brackets itself.
std::optional<std::uint64_t> stat_field(std::string_view stat, int n) {
  auto pos = stat.rfind(')');
  if (pos == std::string_view::npos) return std::nullopt;
  ++pos;  // behind field 2
  for (int field = 3;; ++field) {
    pos = stat.find_first_not_of(' ', pos);
    if (pos == std::string_view::npos) return std::nullopt;
    if (field == n) return number<std::uint64_t>(stat.substr(pos));
    pos = stat.find(' ', pos);
    if (pos == std::string_view::npos) return std::nullopt;
  }
}

std::optional<pid_t> status_tgid(std::string_view status) {
  auto pos = status.find("\nTgid:");
  if (pos == std::string_view::npos) return std::nullopt;
  pos = status.find_first_not_of(" \t", pos + 6);
  if (pos == std::string_view::npos) return std::nullopt;
  return number<pid_t>(status.substr(pos));
}

}  // namespace

Result<std::string> read_file(const std::string& path, std::size_t limit) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return Error::system(path);
  std::string text;
  char buffer[4096];
  while (text.size() < limit) {
    const ssize_t n = ::read(fd.get(), buffer, std::min(sizeof(buffer), limit - text.size()));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::system(path);
    if (n == 0) break;
    text.append(buffer, static_cast<std::size_t>(n));
  }
  return text;
}

Result<ThreadInfo> thread_info(const std::string& proc, pid_t tid) {
  const std::string dir = proc + "/" + std::to_string(tid);
  auto status = read_file(dir + "/status");
  auto stat = read_file(dir + "/stat");
  if (!status || !stat) return Error("no thread " + std::to_string(tid), ESRCH);
  const auto tgid = status_tgid("\n" + *status);
  const auto start = stat_field(*stat, 22);
  if (!tgid || !start) return Error(dir + ": stat or status cannot be understood", EPROTO);
  return ThreadInfo{*tgid, *start};
}

Result<Fd> open_pidfd(pid_t pid) {
  const long fd = ::syscall(SYS_pidfd_open, pid, 0);
  if (fd < 0) return Error::system("pidfd_open of process " + std::to_string(pid));
  return Fd(static_cast<int>(fd));
}

}  // namespace pvsched
