// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/loop.h"

#include <glib-unix.h>

namespace pvsched {
namespace {

using Again = std::function<bool()>;
using OnFd = std::function<bool(GIOCondition)>;

gboolean call_again(gpointer data) { return (*static_cast<Again*>(data))() ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE; }
gboolean call_fd(gint, GIOCondition condition, gpointer data) {
  return (*static_cast<OnFd*>(data))(condition) ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}
template <typename Fn>
void drop(gpointer data) {
  delete static_cast<Fn*>(data);
}

GSource* attach(GSource* source, Again fn) {
  g_source_set_callback(source, call_again, new Again(std::move(fn)), drop<Again>);
  g_source_attach(source, nullptr);
  return source;
}

using Job = std::function<void()>;
void run_job(gpointer data, gpointer) {
  std::unique_ptr<Job> job(static_cast<Job*>(data));
  (*job)();
}

}  // namespace

Source Source::timer(unsigned ms, std::function<bool()> fn) {
  // Whole seconds may be served together with other timers: fewer wake-ups of an idle machine.
  GSource* source = ms % 1000 == 0 && ms > 0 ? g_timeout_source_new_seconds(ms / 1000) : g_timeout_source_new(ms);
  return Source(attach(source, std::move(fn)));
}

Source Source::once(unsigned ms, std::function<void()> fn) {
  return Source(attach(g_timeout_source_new(ms), [fn = std::move(fn)] {
    fn();
    return false;
  }));
}

Source Source::on_fd(int fd, GIOCondition conditions, std::function<bool(GIOCondition)> fn) {
  GSource* source = g_unix_fd_source_new(fd, conditions);
  g_source_set_callback(source, reinterpret_cast<GSourceFunc>(reinterpret_cast<void*>(call_fd)),
                        new OnFd(std::move(fn)), drop<OnFd>);
  g_source_attach(source, nullptr);
  return Source(source);
}

Source Source::on_signal(int signal, std::function<bool()> fn) {
  return Source(attach(g_unix_signal_source_new(signal), std::move(fn)));
}

void Source::reset() {
  GSource* source = std::exchange(source_, nullptr);
  if (source == nullptr) return;
  g_source_destroy(source);
  g_source_unref(source);
}

void post(std::function<void()> fn) {
  GSource* source = g_idle_source_new();
  g_source_set_priority(source, G_PRIORITY_DEFAULT);
  attach(source, [fn = std::move(fn)] {
    fn();
    return false;
  });
  g_source_unref(source);
}

Worker::Worker(int threads) : pool_(g_thread_pool_new_full(run_job, nullptr, drop<Job>, threads, FALSE, nullptr)) {}

Worker::~Worker() { g_thread_pool_free(pool_, TRUE, FALSE); }

void Worker::run(std::function<void()> job) { g_thread_pool_push(pool_, new Job(std::move(job)), nullptr); }

}  // namespace pvsched
