// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/diff.h"

#include <algorithm>
#include <cstdint>
#include <sstream>
#include <vector>

namespace pvsched {
namespace {

constexpr std::size_t kContext = 3;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

struct Step {
  char kind;  ///< ' ', '-', '+'
  std::string line;
};

// By the longest common subsequence: quadratic, for texts of some thousand lines at most.
std::vector<Step> steps(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  std::vector<std::vector<std::uint32_t>> common(a.size() + 1, std::vector<std::uint32_t>(b.size() + 1, 0));
  for (std::size_t i = a.size(); i-- > 0;)
    for (std::size_t j = b.size(); j-- > 0;)
      common[i][j] = a[i] == b[j] ? common[i + 1][j + 1] + 1 : std::max(common[i + 1][j], common[i][j + 1]);
  std::vector<Step> out;
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < a.size() || j < b.size()) {
    if (i < a.size() && j < b.size() && a[i] == b[j]) {
      out.push_back({' ', a[i]});
      ++i, ++j;
    } else if (j == b.size() || (i < a.size() && common[i + 1][j] >= common[i][j + 1])) {
      out.push_back({'-', a[i++]});
    } else {
      out.push_back({'+', b[j++]});
    }
  }
  return out;
}

}  // namespace

std::string unified_diff(const std::string& before, const std::string& after, const std::string& name) {
  if (before == after) return "";
  const auto all = steps(lines_of(before), lines_of(after));
  std::string out = "--- " + name + " (now)\n+++ " + name + " (then)\n";
  std::size_t old_line = 1;
  std::size_t new_line = 1;
  for (std::size_t i = 0; i < all.size();) {
    // The next hunk: from its first change on, as long as changes are within twice the context of each other.
    std::size_t first = i;
    while (first < all.size() && all[first].kind == ' ') ++first;
    if (first == all.size()) break;
    const std::size_t begin = std::max(i, first - std::min(first, kContext));
    std::size_t end = first;
    for (std::size_t k = first, same = 0; k < all.size() && same <= 2 * kContext; ++k) {
      same = all[k].kind == ' ' ? same + 1 : 0;
      if (same == 0) end = k + 1;
    }
    end = std::min(all.size(), end + kContext);
    old_line += begin - i;
    new_line += begin - i;
    std::size_t old_count = 0;
    std::size_t new_count = 0;
    std::string body;
    for (std::size_t k = begin; k < end; ++k) {
      old_count += all[k].kind != '+';
      new_count += all[k].kind != '-';
      body += all[k].kind + all[k].line + "\n";
    }
    out += "@@ -" + std::to_string(old_line) + "," + std::to_string(old_count) + " +" + std::to_string(new_line) + "," +
           std::to_string(new_count) + " @@\n" + body;
    old_line += old_count;
    new_line += new_count;
    i = end;
  }
  return out;
}

}  // namespace pvsched
