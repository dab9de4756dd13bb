// SPDX-License-Identifier: GPL-2.0-or-later
// Sessions: all VMs that are served, and what opens, changes and closes them: hooks, libvirt's events, the look at all
// running domains after a connect, attach and detach. Each comes down to the same two acts: serve this XML, close that.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemon/session.h"
#include "libvirt/host.h"

namespace pvsched {

struct SessionsOptions {
  std::string schema;  ///< of the metadata element
  OwnTags own_tags;  ///< by configuration
  std::map<std::string, CpuRule> tag_cpus;  ///< preferred CPUs of what has a tag of this name
  std::string proc = "/proc";
  std::string libvirt_run = "/run/libvirt/qemu";
  unsigned tick_ms = 5000;
  unsigned first_retry_ms = 1000;
  unsigned last_retry_ms = 30000;
  unsigned status_ms = 1500;  ///< longest wait for the devices' answers
  unsigned attach_ms = 10000;
  LogFn log = log_line;
  std::function<void()> changed = [] {};  ///< a session was opened or closed
};

/// The answer to a hook.
struct HookAnswer {
  bool ok = true;  ///< false: the start is to be refused
  std::string message;  ///< why
  std::vector<std::string> warnings;  ///< for the hook's stderr
};

/// What a tag is put on: that of the members which is set; `vcpu` belongs to `domain`.
struct TagSubject {
  std::string domain;  ///< name or UUID
  std::optional<unsigned> vcpu;
  pid_t tid = 0;
  std::string cgroup;  ///< its folder
};

class Sessions {
 public:
  /// `host` may be null: no libvirt. Tests replace `open_qmp` and `open_pidfd`.
  Sessions(Engine& engine, SessionsOptions options, Host* host);
  Sessions(const Sessions&) = delete;
  Sessions& operator=(const Sessions&) = delete;
  ~Sessions();

  std::function<Result<std::unique_ptr<Qmp>>(const SessionTarget&, unsigned attempt)> open_qmp;
  std::function<Result<Fd>(pid_t)> open_pidfd = pvsched::open_pidfd;

  /// Answers at once, without libvirt: libvirt waits for it.
  HookAnswer hook(const std::string& name, const std::string& operation, const std::string& xml);

  void host_connected();
  void host_event(const std::string& uuid, DomainEvent event);

  /// Serves a QEMU that libvirt does not know. `limits` is a pvsched element, or empty for the defaults. `done` hears
  /// the outcome of the first pass; where that fails, no session is left.
  void attach(const std::string& path, const std::string& name, const std::string& limits,
              std::function<void(Status)> done);
  /// Errors: no such session.
  Status detach(const std::string& path);
  /// By name or UUID. Errors: no session of that domain.
  Status set_enabled(const std::string& domain, bool on);

  void set_tick(unsigned tick_ms) { options_.tick_ms = tick_ms; }
  /// Looks after the policies: one that misbehaves is logged and its VMs have the default. Called now and then.
  void watch_policies();

  /// What is put on or taken off what, see requests.h. Errors: no such VM, vCPU, thread, cgroup or tag.
  Status set_tag(const TagSubject& subject, const std::string& name);
  Status clear_tag(const TagSubject& subject);
  /// Follows threads and cgroups that come and go. Called now and then.
  void watch_tags();
  void set_own_tags(OwnTags own);
  void set_tag_cpus(std::map<std::string, CpuRule> rules) { options_.tag_cpus = std::move(rules); }
  /// Keeps vCPUs on the CPUs that they prefer. Called each second.
  void place();
  const Tags& tags() const { return tags_; }
  std::size_t size() const { return sessions_.size(); }
  /// All sessions as JSON, the devices' state included where they answer in time. `domain`: only that, by name or UUID.
  void status(const std::string& domain, std::function<void(Json)> done);
  /// Closes every session; `done` when what was left to say has been said.
  void close_all(std::function<void()> done);

 private:
  Session* find(const std::string& domain);
  void serve_xml(const std::string& xml, HookAnswer* answer = nullptr);
  void open(const SessionTarget& target, const DomainConfig& config);
  void close(const std::string& key, const std::string& reason, bool orderly);
  void warn_once(const std::string& key, const std::string& sentence);
  Result<std::unique_ptr<Qmp>> connect(const SessionTarget& target, unsigned attempt);
  SessionEnv session_env();

  Status change_tag(const TagSubject& subject, std::optional<TagValue> tag);
  void retag();

  Engine& engine_;
  SessionsOptions options_;
  Tags tags_;
  CpuLoad load_;
  std::set<pid_t> others_;  ///< threads that the engine counts as foreground ones
  Host* host_;
  std::map<std::string, std::unique_ptr<Session>> sessions_;
  std::map<std::string, std::string> warned_;  ///< the last warning of each domain's metadata
  std::shared_ptr<Sessions*> self_;  ///< expires with this object
};

}  // namespace pvsched
