// SPDX-License-Identifier: GPL-2.0-or-later
// The main loop inside a test, and results as plain truth for CHECK.
#pragma once

#include <glib.h>

#include <functional>

#include "common/result.h"

namespace pvsched {

template <typename T>
bool ok(const Result<T>& result) {
  return static_cast<bool>(result);
}

/// Turns the default main loop until `done` says true; false when `ms` passed first.
inline bool run_until(const std::function<bool()>& done, unsigned ms = 3000) {
  const gint64 end = g_get_monotonic_time() + static_cast<gint64>(ms) * 1000;
  GSource* waker = g_timeout_source_new(5);
  g_source_set_callback(
      waker, [](gpointer) -> gboolean { return G_SOURCE_CONTINUE; }, nullptr, nullptr);
  g_source_attach(waker, nullptr);
  while (!done() && g_get_monotonic_time() < end) g_main_context_iteration(nullptr, TRUE);
  g_source_destroy(waker);
  g_source_unref(waker);
  return done();
}

/// Turns the loop for a while: for what must not come about.
inline void run_for(unsigned ms) {
  run_until([] { return false; }, ms);
}

}  // namespace pvsched
