// SPDX-License-Identifier: GPL-2.0-or-later
// Session: classes of QEMU's threads that are no vCPUs.
#include <algorithm>

#include "daemon/session.h"
#include "pvsched/policy_interface.h"

namespace pvsched {
namespace {

constexpr std::string_view kIothread = "iothread";  // as libvirt names the objects: iothread1

// A body as the policies' decisions have it; a positive nice value gives way.
std::uint32_t body_of(const ThreadConfig& config) {
  if (config.priority == 0 && config.nice > 0)
    return pvs_decision(PVSCHED_CLASS_YIELD, PVSCHED_SCHED_OTHER, config.nice, 0);
  return pvs_decision(PVSCHED_CLASS_TASK, config.policy, config.nice, config.priority);
}

// The entry for the I/O thread of this name: its own, or that of all others.
const ThreadConfig* config_of(const std::vector<ThreadConfig>& configs, const std::string& name) {
  const ThreadConfig* found = nullptr;
  for (const ThreadConfig& config : configs) {
    if (!config.iothread) continue;
    if (config.id != 0 && name == std::string(kIothread) + std::to_string(config.id)) return &config;
    if (config.id == 0) found = &config;
  }
  return found;
}

}  // namespace

Task<Status> Session::update_threads() {
  if (config_.threads.empty() && threads_.empty()) co_return Status();
  struct Wanted {
    std::string name;
    ThreadConfig config;
  };
  std::map<pid_t, Wanted> wanted;
  const auto& configs = config_.threads;
  for (const ThreadConfig& config : configs)
    if (!config.iothread) wanted[pid_] = {"emulator", config};
  if (std::any_of(configs.begin(), configs.end(), [](const ThreadConfig& config) { return config.iothread; })) {
    Result<Json> reply = co_await ask("query-iothreads", Json());
    if (!reply) co_return reply.error();
    for (const Json& entry : *reply) {
      const auto name = string_member(entry, "id");
      const auto tid = int_member(entry, "thread-id");
      if (!name || !tid || *tid <= 0 || *tid > INT32_MAX)
        co_return Error("query-iothreads has an entry that cannot be used: " + printable(dump_json(entry), 120),
                        EPROTO);
      if (const ThreadConfig* config = config_of(configs, *name)) wanted[static_cast<pid_t>(*tid)] = {*name, *config};
    }
  }
  if (limits().enabled == 0) wanted.clear();
  for (auto it = threads_.begin(); it != threads_.end();) {
    auto still = wanted.find(it->first);
    if (still != wanted.end() && still->second.config == it->second.config) {
      ++it;
      continue;
    }
    env_.engine->clear_class(*vm_, it->first);
    it = threads_.erase(it);
  }
  for (const auto& [tid, what] : wanted) give_class(tid, what.name, what.config);
  co_return Status();
}

// QEMU's word is not trusted: only a thread of its own process is touched.
void Session::give_class(pid_t tid, const std::string& name, const ThreadConfig& config) {
  Thread& thread = threads_[tid];
  thread.name = printable(name, 40);
  thread.config = config;
  Status given = Error("QEMU names a thread that is not its own", EPERM);
  auto info = thread_info(env_.proc, tid);
  if (info && info->tgid == pid_) given = env_.engine->set_class(*vm_, tid, info->start_time, body_of(config));
  const std::string refusal = given ? "" : given.error().text();
  if (!refusal.empty() && refusal != thread.refusal)
    say(LogLevel::kWarning, thread.name + " is without its class: " + refusal);
  thread.refusal = refusal;
}

Json Session::threads_json() const {
  Json out = Json::array();
  for (const auto& [tid, thread] : threads_) {
    const ThreadConfig& config = thread.config;
    const char* policy = config.policy == PVSCHED_SCHED_FIFO ? "fifo"
                         : config.policy == PVSCHED_SCHED_RR ? "rr"
                                                             : "other";
    Json entry = {{"name", thread.name},
                  {"tid", tid},
                  {"policy", policy},
                  {"nice", config.nice},
                  {"rt_priority", config.priority}};
    if (!thread.refusal.empty()) entry["trouble"] = thread.refusal;
    out.push_back(std::move(entry));
  }
  return out;
}

}  // namespace pvsched
