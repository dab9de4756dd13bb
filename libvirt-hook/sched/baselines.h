// SPDX-License-Identifier: GPL-2.0-or-later
// The table of baselines: a file in the run directory, mapped by pvschedd and by the guardian. It says what each
// thread was before pvsched touched it and what it may be now, so that whoever is alive can put everything back.
//
// pvschedd is the only writer but for `fence`. An entry is written before the thread is touched (write-ahead).
#pragma once

#include <pthread.h>
#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <string>

#include "common/cpus.h"
#include "common/fd.h"
#include "common/result.h"
#include "sched/attr.h"

namespace pvsched {

inline constexpr std::uint64_t kBaselinesMagic = 0x3165736162767370;  // "psvbase1"
inline constexpr unsigned kMaxFunds = 1024;
inline constexpr unsigned kMaxClassed = 1024;

/// One thread; the index is the policy's.
struct BaselineEntry {
  std::atomic<std::uint32_t> active;
  std::int32_t tid;
  std::uint64_t start_time;
  SchedAttr baseline;
  std::uint64_t timer_slack;
  std::uint32_t mode;  ///< RtMode
  std::uint32_t vm;  ///< the policy's; index in `weights`
  std::atomic<std::uint32_t> placed;  ///< confined to `given`, or about to be
  std::atomic<std::uint32_t> intended;  ///< decision body being or last applied
  std::atomic<std::uint32_t> previous;  ///< the one before
  CpuSet cpus;  ///< its own affinity
  CpuSet given;
  CpuSet given_before;
};

/// One cgroup whose real-time run time was raised.
struct FundEntry {
  std::atomic<std::uint32_t> active;
  std::int64_t added_us;
  char path[244];
};

/// The cgroup of one VM, whose weight is lowered while the VM gives way.
struct WeightEntry {
  std::atomic<std::uint32_t> active;
  std::atomic<std::uint32_t> lowered;  ///< it is, or may be, at `least`
  std::int64_t baseline;
  std::int64_t least;
  char path[304];  ///< of the file
};

struct BaselineTable {
  std::uint64_t magic;
  std::uint32_t size;
  std::uint32_t lease_ms;
  std::atomic<std::uint64_t> heartbeat_ns;  ///< CLOCK_MONOTONIC of the actuator's last turn
  std::atomic<std::uint32_t> active;  ///< entries in use
  std::atomic<std::uint32_t> fence;  ///< stepped by the guardian each time it restored behind a living pvschedd
  /// Robust and shared; held by the actuator thread while it lives. The kernel hands it on the moment that thread
  /// dies, long before it has taken the dying process apart.
  pthread_mutex_t alive;
  BaselineEntry entries[PVS_MAX_VCPUS];
  BaselineEntry classed[kMaxClassed];  ///< threads that are no vCPUs
  FundEntry funds[kMaxFunds];
  WeightEntry weights[PVS_MAX_VMS];
};

/// The mapped table. The file stays locked (flock) by whoever acts on it.
class Baselines {
 public:
  /// Makes a new table at `path` and maps it. Errors: the directory is missing or not writable.
  static Result<Baselines> create(const std::string& path, unsigned lease_ms);
  /// Maps an existing one, for the guardian. Errors: not there, of another version.
  static Result<Baselines> open(const std::string& path);
  static Result<Baselines> from_fd(Fd fd);

  Baselines(Baselines&& other) noexcept;
  Baselines& operator=(Baselines&& other) noexcept;
  ~Baselines();

  BaselineTable* operator->() const { return table_; }
  BaselineTable& operator*() const { return *table_; }
  int fd() const { return fd_.get(); }

 private:
  Baselines(Fd fd, BaselineTable* table) : fd_(std::move(fd)), table_(table) {}
  Fd fd_;
  BaselineTable* table_ = nullptr;
};

/// Fills a free entry for a thread, as it is now. Errors: gone, or not the one meant.
Status note_baseline(BaselineEntry& entry, pid_t tid, std::uint64_t start_time, RtMode mode);

/// Gives the entry's thread what the decision's body says. Errors: gone, refused, or somebody else has changed it.
Status give_class(BaselineEntry& entry, std::uint32_t body);

/// Puts one thread back if it is still the one meant and still has what pvsched gave it; an administrator's own
/// setting is left alone. Returns whether the thread is at its baseline, gone, or not ours to touch.
bool restore_thread(const BaselineEntry& entry);

/// Restores every active thread; gives funds back where `with_funds`. Returns how many are not restored yet.
unsigned restore_all(BaselineTable& table, bool with_funds);

}  // namespace pvsched
