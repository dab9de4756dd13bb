// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/sessions.h"

#include <algorithm>

#include "daemon/domain_xml.h"
#include "qmp/socket_qmp.h"

namespace pvsched {
namespace {

std::string vm(const std::string& name) { return "VM '" + printable(name, 100) + "': "; }

// Calls `done` once, when the last copy is let go or `ms` have passed.
class Gathering {
 public:
  Gathering(unsigned ms, std::function<void()> done) : done_(std::move(done)) {
    timeout_ = Source::once(ms, [this] { finish(); });
  }
  Gathering(const Gathering&) = delete;
  Gathering& operator=(const Gathering&) = delete;
  ~Gathering() { finish(); }

 private:
  void finish() {
    if (auto done = std::exchange(done_, {})) post(done);
  }
  std::function<void()> done_;
  Source timeout_;
};

}  // namespace

Sessions::Sessions(Engine& engine, SessionsOptions options, Host* host)
    : engine_(engine),
      options_(std::move(options)),
      tags_(options_.proc, options_.own_tags),
      load_(options_.proc),
      host_(host),
      self_(std::make_shared<Sessions*>(this)) {
  open_qmp = [this](const SessionTarget& target, unsigned attempt) { return connect(target, attempt); };
}

Sessions::~Sessions() = default;

// A VM's own socket may be in use by another client: every second try goes through libvirt.
Result<std::unique_ptr<Qmp>> Sessions::connect(const SessionTarget& target, unsigned attempt) {
  const bool own = !target.qmp_socket.empty();
  const bool passthrough = !target.standalone && host_ != nullptr;
  if (own && (!passthrough || attempt % 2 == 0)) {
    auto opened = SocketQmp::open(target.qmp_socket);
    if (opened) return std::unique_ptr<Qmp>(opened.take());
    return opened.error();
  }
  if (!passthrough) return Error("no QMP socket of its own (-qmp unix:PATH), and libvirt is not in use", ENOTCONN);
  return host_->monitor(target.key);
}

void Sessions::watch_policies() {
  const auto sentences = engine_.stop_misbehaving();
  for (const std::string& sentence : sentences) options_.log(LogLevel::kWarning, sentence);
  if (sentences.empty()) return;
  for (const auto& [key, session] : sessions_) session->configure(session->config());
}

SessionEnv Sessions::session_env() {
  SessionEnv env;
  env.engine = &engine_;
  env.tags = &tags_;
  env.tag_cpus = &options_.tag_cpus;
  env.proc = options_.proc;
  env.libvirt_run = options_.libvirt_run;
  env.tick_ms = options_.tick_ms;
  env.first_retry_ms = options_.first_retry_ms;
  env.last_retry_ms = options_.last_retry_ms;
  env.open_qmp = open_qmp;
  env.open_pidfd = open_pidfd;
  env.log = options_.log;
  env.claim = [this](const std::string& key, pid_t pid) -> Status {
    for (const auto& [other, session] : sessions_)
      if (other != key && session->pid() == pid)
        return Error(
            "QEMU process " + std::to_string(pid) + " is already served as VM '" + session->target().name + "'",
            EEXIST);
    return {};
  };
  env.ended = [self = std::weak_ptr<Sessions*>(self_)](const std::string& key) {
    post([self, key] {
      auto alive = self.lock();
      if (!alive) return;
      auto it = (*alive)->sessions_.find(key);  // may be the next run's by now
      if (it != (*alive)->sessions_.end() && it->second->ended()) (*alive)->close(key, "QEMU has ended", false);
    });
  };
  return env;
}

void Sessions::open(const SessionTarget& target, const DomainConfig& config) {
  if (auto old = sessions_.find(target.key); old != sessions_.end() && old->second->ended())
    close(target.key, "QEMU has ended", false);
  auto [it, fresh] = sessions_.try_emplace(target.key);
  if (fresh) {
    it->second = std::make_unique<Session>(session_env(), target, config);
    it->second->look();
    options_.changed();
  } else {
    it->second->retarget(target);
    it->second->configure(config);
    it->second->look();
  }
}

void Sessions::close(const std::string& key, const std::string& reason, bool orderly) {
  auto it = sessions_.find(key);
  if (it == sessions_.end()) return;
  options_.log(LogLevel::kInfo, vm(it->second->target().name) + "session closed: " + reason);
  auto session = std::move(it->second);
  sessions_.erase(it);
  session->close(orderly);
  options_.changed();
}

void Sessions::warn_once(const std::string& key, const std::string& sentence) {
  if (std::exchange(warned_[key], sentence) != sentence) options_.log(LogLevel::kWarning, sentence);
}

// The one way in: what a running domain's XML asks for is made true.
void Sessions::serve_xml(const std::string& xml, HookAnswer* answer) {
  auto domain = parse_domain_xml(xml);
  auto metadata = parse_domain_metadata(xml, options_.schema);
  if (!domain || !metadata) {
    const Error error = (domain ? metadata.error() : domain.error()).in(domain ? domain->name : "domain");
    options_.log(LogLevel::kWarning, error.text());
    if (answer != nullptr) answer->warnings.push_back(error.text());
    return;
  }
  const std::string& key = domain->uuid;
  const bool known = sessions_.contains(key);
  if (!metadata->present) {
    warned_.erase(key);
    return close(key, "its metadata has no pvsched element", true);
  }
  if (!metadata->config) {
    const std::string sentence =
        metadata->explain() + (known ? "; the limits stay as they were" : "; it is not served");
    warn_once(key, vm(domain->name) + sentence);
    if (answer != nullptr) answer->warnings.push_back(sentence);
    return;
  }
  warned_.erase(key);
  if (!metadata->config->enabled) return close(key, "disabled in its metadata", true);
  open({key, domain->name, domain->qmp_socket, false}, *metadata->config);
}

HookAnswer Sessions::hook(const std::string& name, const std::string& operation, const std::string& xml) {
  HookAnswer answer;
  if (operation == "prepare" || operation == "start") {
    auto metadata = parse_domain_metadata(xml, options_.schema);
    if (!metadata) {
      answer.warnings.push_back(metadata.error().in("not checked").text());
    } else if (metadata->present && !metadata->config) {
      // The hook puts the VM's name in front.
      answer.ok = !metadata->required;
      if (answer.ok) {
        answer.warnings.push_back(metadata->explain());
      } else {
        answer.message = metadata->explain() + "; mend it with 'virsh edit " + name + "', or set required=\"no\"";
        options_.log(LogLevel::kWarning, vm(name) + "its start is refused: " + answer.message);
      }
    }
  } else if (operation == "started" || operation == "reconnect" || operation == "attach") {
    serve_xml(xml, &answer);
  } else if (operation == "stopped" || operation == "release") {
    auto domain = parse_domain_xml(xml);
    if (domain) {
      close(domain->uuid, "stopped", false);
      warned_.erase(domain->uuid);
    } else if (Session* session = find(name); session != nullptr && !session->target().standalone) {
      close(std::string(session->target().key), "stopped", false);
    }
  }
  return answer;
}

void Sessions::host_connected() {
  if (host_ == nullptr) return;
  // One begun while libvirt was asked is not in its list, and must not be closed for that.
  std::set<std::string> before;
  for (const auto& [key, session] : sessions_)
    if (!session->target().standalone) before.insert(key);
  host_->running([self = std::weak_ptr<Sessions*>(self_), before](Result<std::vector<DomainInfo>> domains) {
    auto alive = self.lock();
    if (!alive || !domains) return;  // a lost connection is told elsewhere
    Sessions& sessions = **alive;
    std::set<std::string> running;
    for (const auto& domain : *domains) {
      running.insert(domain.uuid);
      sessions.serve_xml(domain.xml);
    }
    for (const auto& key : before) {
      auto it = sessions.sessions_.find(key);
      // A process that lives is watched, and closes its session itself.
      if (it != sessions.sessions_.end() && !running.contains(key) && it->second->pid() == 0)
        sessions.close(key, "libvirt does not run it", false);
    }
  });
}

void Sessions::host_event(const std::string& uuid, DomainEvent event) {
  if (host_ == nullptr) return;
  auto it = sessions_.find(uuid);
  switch (event) {
    case DomainEvent::kDevices:
      if (it != sessions_.end()) it->second->look();
      return;
    case DomainEvent::kStopped:
      // The event may be late, and of the run before this one. A known process tells its end itself.
      if (it == sessions_.end() || it->second->pid() != 0) return;
      break;
    case DomainEvent::kStarted:
    case DomainEvent::kMetadata:
      break;
  }
  host_->domain(uuid, [self = std::weak_ptr<Sessions*>(self_), uuid](Result<DomainInfo> domain) {
    auto alive = self.lock();
    if (!alive) return;
    Sessions& sessions = **alive;
    if (domain && domain->active) return sessions.serve_xml(domain->xml);
    auto found = sessions.sessions_.find(uuid);
    const bool gone = domain || sessions.host_->connected();
    if (gone && found != sessions.sessions_.end() && found->second->pid() == 0) sessions.close(uuid, "stopped", false);
  });
}

void Sessions::attach(const std::string& path, const std::string& name, const std::string& limits,
                      std::function<void(Status)> done) {
  DomainConfig config;
  if (!limits.empty()) {
    auto metadata = parse_domain_metadata(limits, options_.schema);
    if (!metadata) return done(metadata.error().in("limits"));
    if (!metadata->present) return done(Error("limits: there is no pvsched element", EINVAL));
    if (!metadata->config) return done(Error("limits: " + metadata->explain(), EINVAL));
    config = *metadata->config;
  }
  const std::string key = "qmp:" + path;
  const bool known = sessions_.contains(key);
  open({key, name.empty() ? path : name, path, true}, config);
  if (known) return done({});
  struct Waiting {
    std::function<void(Status)> done;
    Source guard;
  };
  auto waiting = std::make_shared<Waiting>();
  waiting->done = std::move(done);
  auto settled = [self = std::weak_ptr<Sessions*>(self_), key, waiting](const Status& outcome) {
    auto once = std::exchange(waiting->done, {});
    if (!once) return;
    waiting->guard.reset();
    auto alive = self.lock();
    if (alive && !outcome) (*alive)->close(key, "attach failed", false);
    once(outcome);
  };
  waiting->guard =
      Source::once(options_.attach_ms, [settled] { settled(Error("QEMU did not answer in time", ETIMEDOUT)); });
  sessions_[key]->when_settled(settled);
}

Status Sessions::detach(const std::string& path) {
  const std::string key = "qmp:" + path;
  if (!sessions_.contains(key)) return Error("nothing is attached at " + path, ENOENT);
  close(key, "detached", true);
  return {};
}

Session* Sessions::find(const std::string& domain) {
  if (auto it = sessions_.find(domain); it != sessions_.end()) return it->second.get();
  for (auto& [key, session] : sessions_)
    if (session->target().name == domain) return session.get();
  return nullptr;
}

Status Sessions::set_enabled(const std::string& domain, bool on) {
  Session* session = find(domain);
  if (session == nullptr) return Error("no session of a domain '" + domain + "'", ENOENT);
  session->set_enabled(on);
  return {};
}

void Sessions::status(const std::string& domain, std::function<void(Json)> done) {
  auto report = [self = std::weak_ptr<Sessions*>(self_), domain, done = std::move(done)] {
    auto alive = self.lock();
    if (!alive) return;
    Json list = Json::array();
    for (const auto& [key, session] : (*alive)->sessions_)
      if (domain.empty() || key == domain || session->target().name == domain) list.push_back(session->status());
    done(std::move(list));
  };
  auto gathering = std::make_shared<Gathering>(options_.status_ms, std::move(report));
  for (const auto& [key, session] : sessions_)
    if (domain.empty() || key == domain || session->target().name == domain) session->refresh_details([gathering] {});
}

void Sessions::close_all(std::function<void()> done) {
  auto gathering = std::make_shared<Gathering>(options_.status_ms, std::move(done));
  for (auto& [key, session] : std::exchange(sessions_, {})) session->close(true, [gathering] {});
}

}  // namespace pvsched
