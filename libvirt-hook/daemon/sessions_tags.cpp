// SPDX-License-Identifier: GPL-2.0-or-later
// Sessions: tags that come from pvschedctl, the threads besides vCPUs that are foreground by them, preferred CPUs.
#include "daemon/sessions.h"
#include "pvsched/tags.h"

namespace pvsched {

Status Sessions::set_tag(const TagSubject& subject, const std::string& name) {
  auto tag = tags_.find(name);
  if (!tag) return tag.error();
  return change_tag(subject, *tag);
}

Status Sessions::clear_tag(const TagSubject& subject) { return change_tag(subject, std::nullopt); }

Status Sessions::change_tag(const TagSubject& subject, std::optional<TagValue> tag) {
  Status done;
  if (!subject.domain.empty()) {
    Session* session = find(subject.domain);
    if (session == nullptr) return Error("no session of a domain '" + printable(subject.domain, 100) + "'", ENOENT);
    done = session->set_tag(subject.vcpu, tag);
  } else if (subject.tid != 0) {
    done = tag ? tags_.set_thread(subject.tid, *tag) : tags_.clear_thread(subject.tid);
  } else {
    done = tag ? tags_.set_cgroup(subject.cgroup, *tag) : tags_.clear_cgroup(subject.cgroup);
  }
  retag();
  return done;
}

void Sessions::set_own_tags(OwnTags own) {
  tags_.set_own(std::move(own));
  retag();
}

void Sessions::place() {
  bool sampled = false;
  for (const auto& [key, session] : sessions_) {
    if (!session->prefers_cpus()) continue;
    if (!std::exchange(sampled, true)) load_.sample();
    session->place(load_);
  }
}

void Sessions::watch_tags() {
  if (tags_.empty() && others_.empty()) return;
  tags_.scan();
  retag();
}

// vCPUs tell their policy their tag; of all other threads only foreground ones count, and only that they want a CPU.
void Sessions::retag() {
  std::set<pid_t> wanted = tags_.tagged(PVS_TAG_FOREGROUND);
  for (const auto& [key, session] : sessions_) {
    session->retag();
    for (pid_t tid : session->vcpu_tids()) wanted.erase(tid);
  }
  for (auto it = others_.begin(); it != others_.end();) {
    if (wanted.contains(*it)) {
      ++it;
      continue;
    }
    engine_.forget_other(*it);
    it = others_.erase(it);
  }
  for (pid_t tid : wanted) {
    if (others_.contains(tid)) continue;
    if (auto counted = engine_.count_other(tid); counted)
      others_.insert(tid);
    else
      warn_once("tags", counted.error().text());
  }
}

}  // namespace pvsched
