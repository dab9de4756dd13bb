// SPDX-License-Identifier: GPL-2.0-or-later
#include "bpf/libbpf_text.h"

#include <algorithm>
#include <cctype>
#include <cstdarg>
#include <cstdio>
#include <string_view>

#include <bpf/libbpf.h>

namespace pvsched {
namespace {

constexpr std::size_t kKept = 64 << 10;
thread_local std::string* g_text = nullptr;

int keep(enum libbpf_print_level level, const char* format, va_list args) {
  if (level == LIBBPF_DEBUG || !g_text) return 0;
  char line[4096];
  std::vsnprintf(line, sizeof(line), format, args);
  g_text->append(line);
  if (g_text->size() > kKept) g_text->erase(0, g_text->size() - kKept);
  return 0;
}

// A line of the verifier's log that only shows what it looks at: an instruction, its source, a state.
bool is_trace(std::string_view line) {
  return line.empty() || line[0] == ';' || line.starts_with("cur state") || line.starts_with("old state") ||
         line.starts_with("from ") || (line[0] == 'R' && line.find('=') != line.npos) ||
         (std::isdigit(static_cast<unsigned char>(line[0])) && line.find(": ") != line.npos);
}

}  // namespace

LibbpfText::LibbpfText() {
  static const libbpf_print_fn_t before = libbpf_set_print(keep);  // once, whichever thread is first
  (void)before;
  g_text = &text_;
}

LibbpfText::~LibbpfText() { g_text = nullptr; }

std::string LibbpfText::tail(unsigned lines) const {
  std::string out;
  std::size_t end = text_.size();
  while (end > 0 && lines-- > 0) {
    std::size_t start = text_.rfind('\n', end >= 2 ? end - 2 : 0);
    start = start == std::string::npos ? 0 : start + 1;
    std::string line = text_.substr(start, end - start);
    while (!line.empty() && line.back() == '\n') line.pop_back();
    if (!line.empty()) out = out.empty() ? line : line + " | " + out;
    end = start;
  }
  return out;
}

std::string LibbpfText::verdict() const {
  // It stands before the line "processed N insns".
  std::string_view log(text_);
  log = log.substr(0, std::min(log.rfind("\nprocessed "), log.size()));
  if (log.size() == text_.size()) return "";
  while (!log.empty()) {
    auto start = log.rfind('\n');
    auto line = start == log.npos ? log : log.substr(start + 1);
    if (!is_trace(line)) return std::string(line);
    log = start == log.npos ? std::string_view() : log.substr(0, start);
  }
  return "";
}

}  // namespace pvsched
