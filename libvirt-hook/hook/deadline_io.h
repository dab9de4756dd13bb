// SPDX-License-Identifier: GPL-2.0-or-later
// Reading, writing and connecting that end at a deadline.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/fd.h"
#include "common/result.h"

namespace pvsched::hook {

/// A point of CLOCK_MONOTONIC.
class Deadline {
 public:
  explicit Deadline(unsigned ms);

  /// Milliseconds left, rounded up; 0 once it is over.
  int left_ms() const;

 private:
  std::int64_t end_ns_;
};

/// Everything up to the end of file; reads on, but keeps nothing, beyond `limit` bytes.
/// Errors: ETIMEDOUT, EFBIG (more than `limit`, all of it read), read(2)'s.
Result<std::string> read_all(int fd, std::size_t limit, const Deadline& deadline);

/// A non-blocking connection to a UNIX stream socket; tries again while the listener's queue is full.
/// Errors: ETIMEDOUT, ENAMETOOLONG, socket(2)'s, connect(2)'s.
Result<Fd> connect_unix(const std::string& path, const Deadline& deadline);

/// Sends all of it. Errors: ETIMEDOUT, send(2)'s.
Status send_all(int socket, std::string_view data, const Deadline& deadline);

/// One line, without its newline. Errors: ETIMEDOUT, EFBIG (longer than `limit`), ECONNRESET (closed before the line's
/// end), recv(2)'s.
Result<std::string> receive_line(int socket, std::size_t limit, const Deadline& deadline);

/// Writes what can be written before the deadline to a descriptor that may block, such as a pipe; ignores errors.
void write_if_ready(int fd, std::string_view line, const Deadline& deadline);

}  // namespace pvsched::hook
