// SPDX-License-Identifier: GPL-2.0-or-later
// Tags: the names of tags, and those that were put on threads and cgroups by hand. Tags of VMs and vCPUs are their
// session's. docs/design/tags.md says which counts where several are on one thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/result.h"

namespace pvsched {

using TagValue = std::uint32_t;

/// An administrator's own tags: name to integer, from PVS_TAG_OWN_MIN to PVS_TAG_MAX.
using OwnTags = std::map<std::string, TagValue>;

/// Why this cannot be one of an administrator's own tags; empty: it can.
std::string tag_fault(const std::string& name, const std::string& value);

class Tags {
 public:
  /// `proc` is normally "/proc".
  Tags(std::string proc, OwnTags own) : proc_(std::move(proc)), own_(std::move(own)) {}

  /// Other own tags, as after a reload. What was tagged by a name keeps its integer.
  void set_own(OwnTags own) { own_ = std::move(own); }
  /// Every name with its integer, the known ones first.
  std::vector<std::pair<std::string, TagValue>> names() const;
  /// Errors: no tag has this name.
  Result<TagValue> find(const std::string& name) const;
  /// The first name of it, or the number where it has none.
  std::string name(TagValue tag) const;

  /// Errors: there is no such thread.
  Status set_thread(pid_t tid, TagValue tag);
  /// `path` is the cgroup's folder, as /sys/fs/cgroup/machine.slice. Errors: it is none.
  Status set_cgroup(const std::string& path, TagValue tag);
  /// Errors: it has no tag.
  Status clear_thread(pid_t tid);
  Status clear_cgroup(const std::string& path);

  /// Looks what threads are in the tagged cgroups now; lets go of threads and cgroups that are gone.
  void scan();
  bool empty() const { return threads_.empty() && cgroups_.empty(); }

  /// Its own tag.
  std::optional<TagValue> thread(pid_t tid) const;
  /// That of the nearest tagged cgroup that it was in at the last scan.
  std::optional<TagValue> cgroup(pid_t tid) const;
  /// Every thread whose tag, of the two above, is this one.
  std::set<pid_t> tagged(TagValue tag) const;

  struct Thread {
    std::uint64_t start_time;
    TagValue tag;
  };
  const std::map<pid_t, Thread>& threads() const { return threads_; }
  const std::map<std::string, TagValue>& cgroups() const { return cgroups_; }

 private:
  std::string proc_;
  OwnTags own_;
  std::map<pid_t, Thread> threads_;
  std::map<std::string, TagValue> cgroups_;
  std::map<pid_t, TagValue> in_cgroups_;  ///< by the last scan
};

}  // namespace pvsched
