// SPDX-License-Identifier: GPL-2.0-or-later
// LibbpfText: what libbpf says while it lives; it explains a refusal only through its print hook.
#pragma once

#include <string>

namespace pvsched {

/// One at a time on a thread, of what libbpf says on that thread.
class LibbpfText {
 public:
  LibbpfText();
  ~LibbpfText();
  LibbpfText(const LibbpfText&) = delete;
  LibbpfText& operator=(const LibbpfText&) = delete;

  /// The last `lines` lines as one, separated by " | ".
  std::string tail(unsigned lines) const;
  /// What the verifier has against a program, in its own words; empty where it has said nothing.
  std::string verdict() const;

 private:
  std::string text_;
};

}  // namespace pvsched
