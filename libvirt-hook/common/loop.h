// SPDX-License-Identifier: GPL-2.0-or-later
// The GLib main loop's parts as C++ values: sources, work done on other threads with its result posted back.
//
// Every callback given here runs on the thread of GLib's default main context and must not throw.
#pragma once

#include <glib.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

namespace pvsched {

/// Move-only owner of a GSource on the default main context; letting it go removes the source.
class Source {
 public:
  Source() = default;
  Source(Source&& other) noexcept : source_(std::exchange(other.source_, nullptr)) {}
  Source& operator=(Source&& other) noexcept {
    if (this != &other) {
      reset();
      source_ = std::exchange(other.source_, nullptr);
    }
    return *this;
  }
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
  ~Source() { reset(); }

  /// Calls `fn` every `ms` milliseconds until it returns false.
  static Source timer(unsigned ms, std::function<bool()> fn);
  /// Calls `fn` once after `ms` milliseconds.
  static Source once(unsigned ms, std::function<void()> fn);
  /// Calls `fn` while `fd` has one of `conditions`, until it returns false.
  static Source on_fd(int fd, GIOCondition conditions, std::function<bool(GIOCondition)> fn);
  /// Calls `fn` at each `signal` (SIGINT, SIGTERM, SIGHUP).
  static Source on_signal(int signal, std::function<bool()> fn);

  /// True while the source can still fire.
  bool active() const { return source_ != nullptr && !g_source_is_destroyed(source_); }
  void reset();

 private:
  explicit Source(GSource* source) : source_(source) {}
  GSource* source_ = nullptr;
};

/// Runs `fn` on the main loop, from any thread.
void post(std::function<void()> fn);

/// Threads that take blocking calls off the main loop. With one thread, jobs run in order. Letting it go drops the
/// jobs that have not begun and does not wait for the one that has: jobs own what they touch.
class Worker {
 public:
  explicit Worker(int threads = 1);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker();

  void run(std::function<void()> job);

  /// Runs `job` on a worker thread and hands its value to `done` on the main loop. `done` must itself check that what
  /// it refers to still lives (weak_ptr).
  template <typename Job, typename Done>
  void call(Job job, Done done) {
    auto shared = std::make_shared<Done>(std::move(done));
    run([job = std::move(job), shared = std::move(shared)]() mutable {
      auto value = std::make_shared<decltype(job())>(job());
      post([shared, value] { (*shared)(std::move(*value)); });
    });
  }

 private:
  GThreadPool* pool_;
};

/// Milliseconds of the monotonic clock.
inline std::int64_t now_ms() { return g_get_monotonic_time() / 1000; }

}  // namespace pvsched
