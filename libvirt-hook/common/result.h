// SPDX-License-Identifier: GPL-2.0-or-later
// Result<T>: a value or one sentence that says what went wrong, where, and what is allowed.
//
//   Result<int> parse(std::string_view text);
//   auto n = parse("12");
//   if (!n) return n.error();              // forward; add context with .error().in("limits")
//   use(*n);
//
// Libraries return errors and never log; the daemon's edge logs once. No exception crosses a C callback.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace pvsched {

/// What went wrong, as one sentence without a final stop; `code` is an errno value, or 0 where none applies.
class [[nodiscard]] Error {
 public:
  explicit Error(std::string text, int code = 0) : text_(std::move(text)), code_(code) {}

  /// "what: strerror(code)".
  static Error system(std::string_view what, int code = errno) {
    return Error(std::string(what) + ": " + std::strerror(code), code);
  }

  /// The same error with "where: " put in front.
  [[nodiscard]] Error in(std::string_view where) const { return Error(std::string(where) + ": " + text_, code_); }

  const std::string& text() const { return text_; }
  int code() const { return code_; }

 private:
  std::string text_;
  int code_;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : data_(std::in_place_index<0>, std::move(value)) {}  // NOLINT: implicit by design
  Result(Error error) : data_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit by design

  explicit operator bool() const { return data_.index() == 0; }
  T& operator*() { return std::get<0>(data_); }
  const T& operator*() const { return std::get<0>(data_); }
  T* operator->() { return &std::get<0>(data_); }
  const T* operator->() const { return &std::get<0>(data_); }
  const Error& error() const { return std::get<1>(data_); }
  T take() { return std::move(std::get<0>(data_)); }

 private:
  std::variant<T, Error> data_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() : data_(std::in_place_index<0>) {}
  Result(Error error) : data_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit by design

  explicit operator bool() const { return data_.index() == 0; }
  const Error& error() const { return std::get<1>(data_); }

 private:
  std::variant<std::monostate, Error> data_;
};

using Status = Result<void>;

}  // namespace pvsched
