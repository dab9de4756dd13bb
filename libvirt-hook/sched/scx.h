// SPDX-License-Identifier: GPL-2.0-or-later
// Scx: the sched_ext scheduler, loaded, and in force between start() and stop().
//
// It shares maps with the policy, so decisions take effect in the kernel. The kernel may end it at any time (watchdog,
// error, SysRq-S); all tasks are then the default scheduler's again, and state() says why. If this process dies, the
// kernel ends it, too. Main thread only.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "common/fd.h"
#include "common/result.h"

struct bpf_map;
struct bpf_object;

namespace pvsched {

struct ScxOptions {
  std::string object;  ///< path of scheduler.bpf.o
  std::string sys = "/sys";
  std::uint64_t slice_ns = 0;  ///< 0: the default
};

struct ScxState {
  bool attached = false;
  std::string reason;  ///< why not, where not: the kernel's words
};

/// The kernel's own word: "disabled", "enabled", ...; empty if it has no sched_ext.
std::string scx_kernel_state(const std::string& sys);
/// Name of the scheduler that is loaded, whoever's; empty if there is none.
std::string scx_kernel_ops(const std::string& sys);

class Scx {
 public:
  /// Loads the scheduler, in force for nobody. `maps`: descriptors of the policy's maps by name; what is not named is
  /// the scheduler's own. Errors: no sched_ext in this kernel (ENOSYS), the verifier's reason.
  static Result<std::unique_ptr<Scx>> load(const ScxOptions& options, const std::map<std::string, int>& maps);
  ~Scx();
  Scx(const Scx&) = delete;
  Scx& operator=(const Scx&) = delete;

  /// Puts it in force; takes as long as the kernel needs to move all tasks over. Errors: another scheduler is loaded
  /// (EBUSY; it is left alone), the kernel's reason.
  Status start();
  /// All tasks are the default scheduler's again when this returns.
  void stop();
  bool started() const { return static_cast<bool>(link_); }

  ScxState state() const;
  int map(const char* name) const;  ///< descriptor of a map; -1 if there is none

 private:
  explicit Scx(std::string sys) : sys_(std::move(sys)) {}
  Status open(const ScxOptions& options, const std::map<std::string, int>& maps);

  std::string sys_;
  bpf_object* object_ = nullptr;
  bpf_map* ops_ = nullptr;
  bool registered_ = false;  ///< the kernel has the functions: they are linked from then on
  Fd link_;
};

}  // namespace pvsched
