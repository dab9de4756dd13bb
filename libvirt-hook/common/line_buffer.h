// SPDX-License-Identifier: GPL-2.0-or-later
// LineBuffer: bytes in, lines out, with a bound on the line.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace pvsched {

class LineBuffer {
 public:
  explicit LineBuffer(std::size_t max_line) : max_line_(max_line) {}

  /// False when a line longer than the bound is being built: the peer is to be given up.
  [[nodiscard]] bool append(std::string_view bytes) {
    const std::size_t old = data_.size();
    data_ += bytes;
    if (auto end = data_.rfind('\n'); end != std::string::npos) return data_.size() - end - 1 <= max_line_;
    scanned_ = old;
    return data_.size() <= max_line_;
  }

  /// The next whole line, without its end ("\n" or "\r\n").
  std::optional<std::string> next() {
    const auto end = data_.find('\n', scanned_);
    if (end == std::string::npos) {
      scanned_ = data_.size();
      return std::nullopt;
    }
    std::string line = data_.substr(0, end);
    data_.erase(0, end + 1);
    scanned_ = 0;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    return line;
  }

  bool empty() const { return data_.empty(); }

 private:
  std::size_t max_line_;
  std::size_t scanned_ = 0;  ///< no line end before this
  std::string data_;
};

}  // namespace pvsched
