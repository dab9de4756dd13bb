// SPDX-License-Identifier: GPL-2.0-or-later
// Guardian: a small process that outlives pvschedd. It restores every thread when pvschedd dies, however it died, and
// when its actuator has not turned for longer than the lease. This is pvschedd's side: start it, wake it, replace it.
#pragma once

#include <sys/types.h>

#include <string>

#include "common/fd.h"
#include "common/result.h"
#include "sched/baselines.h"

namespace pvsched {

class Guardian {
 public:
  /// Starts `executable` on the table. Errors: it cannot be run.
  static Result<Guardian> start(const std::string& executable, const Baselines& baselines);

  /// Readable when the guardian has died.
  int pidfd() const { return pidfd_.get(); }
  pid_t pid() const { return pid_; }
  /// Tells it that there is something to guard.
  void wake();
  /// Reaps the dead one and starts another; false if that failed.
  bool respawn();

 private:
  Guardian() = default;
  Status spawn();

  std::string executable_;
  int table_ = -1;
  Fd self_;  ///< pidfd of this process, for the child
  Fd wake_;  ///< eventfd
  Fd pidfd_;
  pid_t pid_ = -1;
};

}  // namespace pvsched
