// SPDX-License-Identifier: GPL-2.0-or-later
// Task<T>: a coroutine owned by whoever holds it, and Await<T>: one callback as a thing to wait for.
//
//   Task<Status> Session::find_cpus() {
//     Result<json> reply = co_await Await<Result<json>>([&](auto done) { qmp_->execute("query-cpus-fast", ..., done);
//     });
//     ...
//   }
//
// Letting a Task go stops it where it waits: its frame, and all it awaits, is destroyed, and a callback that comes
// later finds nobody. So a session that goes away needs no checks of "am I still there". A task must not let itself
// go from inside. All on one thread.
#pragma once

#include <coroutine>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

namespace pvsched {

template <typename T>
class [[nodiscard]] Task {
 public:
  struct promise_type;
  using Handle = std::coroutine_handle<promise_type>;

  struct promise_type {
    std::coroutine_handle<> continuation;
    std::optional<T> value;

    Task get_return_object() { return Task(Handle::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    auto final_suspend() noexcept {
      struct Final {
        bool await_ready() noexcept { return false; }
        std::coroutine_handle<> await_suspend(Handle self) noexcept {
          auto next = self.promise().continuation;
          return next ? next : std::noop_coroutine();
        }
        void await_resume() noexcept {}
      };
      return Final{};
    }
    void return_value(T v) { value.emplace(std::move(v)); }
    void unhandled_exception() noexcept { std::terminate(); }
  };

  Task() = default;
  explicit Task(Handle handle) : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      reset();
      handle_ = std::exchange(other.handle_, {});
    }
    return *this;
  }
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  ~Task() { reset(); }

  /// Runs to the first wait. For the outermost task; inner ones are started by co_await.
  void start() { handle_.resume(); }
  bool running() const { return handle_ && !handle_.done(); }
  void reset() {
    if (auto handle = std::exchange(handle_, {})) handle.destroy();
  }

  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller) noexcept {
    handle_.promise().continuation = caller;
    return handle_;
  }
  T await_resume() { return std::move(*handle_.promise().value); }

 private:
  Handle handle_;
};

/// Waits for the one call of the callback that `start` is given.
template <typename T>
class [[nodiscard]] Await {
 public:
  using Done = std::function<void(T)>;
  explicit Await(std::function<void(Done)> start) : start_(std::move(start)), slot_(std::make_shared<Slot>()) {}
  Await(const Await&) = delete;
  Await& operator=(const Await&) = delete;
  ~Await() { slot_->waiting = {}; }

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> caller) {
    auto slot = slot_;
    start_([slot](T value) {
      if (slot->value) return;
      slot->value.emplace(std::move(value));
      if (auto waiting = std::exchange(slot->waiting, {})) waiting.resume();
    });
    if (slot->value) return false;  // called back at once
    slot->waiting = caller;
    return true;
  }
  T await_resume() { return std::move(*slot_->value); }

 private:
  struct Slot {
    std::optional<T> value;
    std::coroutine_handle<> waiting;
  };
  std::function<void(Done)> start_;
  std::shared_ptr<Slot> slot_;
};

}  // namespace pvsched
