// SPDX-License-Identifier: GPL-2.0-or-later
// Facts about threads and processes from /proc, whose root is injected.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "common/fd.h"
#include "common/result.h"

namespace pvsched {

/// The whole of a small file (at most `limit` bytes). Errors: as open and read.
Result<std::string> read_file(const std::string& path, std::size_t limit = 1 << 20);

struct ThreadInfo {
  pid_t tgid = 0;  ///< the process it belongs to
  std::uint64_t start_time = 0;  ///< field 22 of its stat, clock ticks since boot
};

/// Errors: ESRCH where there is no such thread, EPROTO where the files cannot be understood.
Result<ThreadInfo> thread_info(const std::string& proc, pid_t tid);

/// A descriptor that becomes readable when the process ends. Errors: as pidfd_open.
Result<Fd> open_pidfd(pid_t pid);

}  // namespace pvsched
