// SPDX-License-Identifier: GPL-2.0-or-later
// Session: one VM under the policy, from the first look at its QEMU to the return of its threads to their baseline.
//
// All work is one idempotent pass, begun by whatever may have changed something: open QMP where there is none, compare
// the vCPUs with those registered, find the device and give it its areas. A pass that fails is tried again, later and
// later; what was registered meanwhile stays registered, and without a device the VM is served agentless.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/json.h"
#include "common/loop.h"
#include "common/procfs.h"
#include "common/task.h"
#include "daemon/cpu_load.h"
#include "daemon/log.h"
#include "daemon/placement.h"
#include "daemon/tags.h"
#include "metadata/domain_config.h"
#include "qmp/qmp.h"
#include "sched/engine.h"

namespace pvsched {

/// Which VM, and how to reach it.
struct SessionTarget {
  std::string key;  ///< the domain's UUID, or "qmp:PATH"
  std::string name;  ///< for people
  std::string qmp_socket;  ///< its own QMP socket; empty: libvirt passthrough
  bool standalone = false;  ///< attached by path, unknown to libvirt
};

/// What a session needs of its surroundings. All functions are called on the main loop.
struct SessionEnv {
  Engine* engine = nullptr;
  const Tags* tags = nullptr;  ///< null: no tag is known
  const std::map<std::string, CpuRule>* tag_cpus = nullptr;  ///< preferred CPUs by a tag's name; null: none
  std::string proc = "/proc";
  std::string libvirt_run = "/run/libvirt/qemu";  ///< where NAME.pid is
  unsigned tick_ms = 5000;  ///< between two passes; 0: none but for a reason
  unsigned first_retry_ms = 1000;
  unsigned last_retry_ms = 30000;
  /// `attempt` counts the failures since QMP last worked.
  std::function<Result<std::unique_ptr<Qmp>>(const SessionTarget&, unsigned attempt)> open_qmp;
  std::function<Result<Fd>(pid_t)> open_pidfd = pvsched::open_pidfd;
  /// Errors: another session serves that process.
  std::function<Status(const std::string& key, pid_t pid)> claim = [](const std::string&, pid_t) { return Status(); };
  /// The QEMU process has ended: the session is to be closed.
  std::function<void(const std::string& key)> ended = [](const std::string&) {};
  LogFn log = log_line;
};

/// One entry of query-cpus-fast.
struct ReportedCpu {
  unsigned index;  ///< QEMU's CPU index = slot
  pid_t tid;
  std::string path;  ///< in QOM
};

enum class SessionState {
  kOpening,  ///< the first pass is under way
  kActive,  ///< the last pass went through
  kRetrying,  ///< the last pass failed
};

class Session {
 public:
  Session(const SessionEnv& env, SessionTarget target, DomainConfig config);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  /// Returns every thread to its baseline.
  ~Session();

  const SessionTarget& target() const { return target_; }
  const DomainConfig& config() const { return config_; }
  SessionState state() const { return state_; }
  pid_t pid() const { return pid_; }
  /// The QEMU process is known to have ended: the session only waits to be closed.
  bool ended() const { return ended_; }

  /// Begins a pass, or another one after that under way.
  void look();
  /// Calls `done` with the outcome of the next pass that ends.
  void when_settled(std::function<void(Status)> done) { waiting_.push_back(std::move(done)); }

  /// New metadata: limits are in force at once, vCPUs are added by a pass.
  void configure(DomainConfig config);
  /// The domain was renamed, or has another socket.
  void retarget(SessionTarget target) { target_ = std::move(target); }
  /// The administrator's switch, on top of the metadata.
  void set_enabled(bool on);
  /// An administrator's tag for the VM, or for one of its vCPUs; until the session ends. nullopt takes it away.
  /// Errors: no such vCPU, it has none.
  Status set_tag(std::optional<unsigned> vcpu, std::optional<TagValue> tag);
  /// Puts each vCPU's tag in force, whatever has changed.
  void retag();
  /// Whether some vCPU prefers CPUs: place() is called only then, and once more after that.
  bool prefers_cpus() const;
  /// Puts each vCPU on its preferred CPUs or lets it leave them, by the load since the last call.
  void place(const CpuLoad& load);
  /// TIDs of the vCPUs under the policy.
  std::set<pid_t> vcpu_tids() const;

  /// Asks the device for its state, unless that was done within the last second; `done` is called in any case.
  void refresh_details(std::function<void()> done);

  /// Takes the VM from under the policy at once. With `orderly`, what is left to tell QEMU is told in the background;
  /// `done` is called when that is over, and at once where there is nothing to tell.
  void close(bool orderly, std::function<void()> done = {});

  Json status() const;

 private:
  struct Vcpu {
    VcpuSpec spec;
    std::string path;  ///< in QOM
    bool registered = false;
    std::string refusal;  ///< why the engine did not take it, once logged
    std::string tag_origin;  ///< who gave it its tag; empty: nobody
    Placement placement;
    double ran = 0;  ///< seconds at the last place()
    CpuSet on;  ///< preferred CPUs that it is kept on
  };
  struct Thread {
    std::string name;  ///< "emulator", "iothread1"
    ThreadConfig config;
    std::string refusal;  ///< why it does not have its class, once logged
  };
  struct Device {
    std::string path;
    unsigned slots = 0;
    bool provided = false;
    bool offered = false;  ///< areas were sent, whether or not they were taken
    std::string trouble;  ///< why not, once logged
    unsigned failures = 0;
    unsigned skip = 0;  ///< passes to let go by before the next try
    std::map<std::string, Json> details;
    std::int64_t details_ms = 0;
  };

  // session.cpp
  void start_pass();
  Task<Status> pass();
  Task<Status> look_once();
  Status open_qmp();
  void settled(const Status& outcome);
  void say(LogLevel level, const std::string& sentence) const;
  pvs_limits limits() const;
  std::string policy();  ///< to serve the VM by: the one asked for, or the default where that is not loaded
  bool wanted(unsigned id) const { return config_.vcpu_enabled(id); }
  void forget_process();
  void drop_qmp();

  // session_cpus.cpp
  Task<Status> update_cpus();
  Status adopt_process(pid_t pid);
  Task<Status> add_cpu(ReportedCpu cpu, ThreadInfo info);
  void remove_cpu(unsigned id);
  void report_rt_mode();

  // session_tags.cpp
  std::pair<TagValue, std::string> tag_of(const Vcpu& vcpu);
  TagValue named_tag(const std::string& name);

  // session_threads.cpp
  Task<Status> update_threads();
  void give_class(pid_t tid, const std::string& name, const ThreadConfig& config);
  Json threads_json() const;

  // session_place.cpp
  const CpuRule* rule_of(const Vcpu& vcpu) const;
  static double share_on(const Vcpu& vcpu, const CpuSet& cpus);
  Json cpus_json(const Vcpu& vcpu) const;

  // session_device.cpp
  Task<Status> update_device();
  Task<Result<std::string>> find_device();
  Task<Status> provide_areas();
  Task<Status> fetch_details();
  void device_gone();
  Task<Result<Json>> ask(std::string command, Json arguments, std::vector<Fd> fds = {});
  Task<Result<Json>> get(std::string path, std::string property);
  Task<Status> set(std::string path, std::string property, std::string value);

  // session_status.cpp
  Json device_status() const;
  Json tag_json(TagValue tag, const std::string& origin) const;

  SessionEnv env_;
  SessionTarget target_;
  DomainConfig config_;
  bool enabled_ = true;  ///< the administrator's switch
  std::optional<TagValue> tag_;  ///< the administrator's, of the VM
  std::map<unsigned, TagValue> vcpu_tags_;  ///< the administrator's
  std::set<std::string> unknown_tags_;  ///< names that were logged
  SessionState state_ = SessionState::kOpening;
  std::string policy_ = kDefaultPolicy;  ///< in force
  std::string trouble_;  ///< why the last pass failed
  std::string rt_said_;  ///< what was logged of the real-time mode
  unsigned failures_ = 0;
  bool reported_open_ = false;
  bool closed_ = false;
  bool ended_ = false;
  bool again_ = false;  ///< a pass was asked for while one was under way

  pid_t pid_ = 0;
  Fd pidfd_;
  Source pidfd_source_;
  std::optional<VmId> vm_;
  std::map<unsigned, Vcpu> vcpus_;
  std::map<pid_t, Thread> threads_;  ///< with a class, by TID
  std::optional<Device> device_;
  std::vector<std::function<void(Status)>> waiting_;
  std::vector<std::function<void()>> details_waiting_;

  std::unique_ptr<Qmp> qmp_;
  Source next_;
  Source tick_;
  Task<Status> pass_;  // tasks last: they go first
  Task<Status> details_;
};

}  // namespace pvsched
