// SPDX-License-Identifier: GPL-2.0-or-later
#include "sched/policy_changes.h"

#include <utility>

#include "bpf/policy_library.h"

namespace pvsched {

PolicyChanges::PolicyChanges(Policy& policy, TrustRules rules)
    : policy_(policy), rules_(std::move(rules)), self_(std::make_shared<PolicyChanges*>(this)) {}

void PolicyChanges::take(Kind kind, const std::string& path, Engine::PolicyDone done) {
  requests_.push_back({kind, path, std::move(done)});
  if (requests_.size() == 1) next();
}

void PolicyChanges::next() {
  const Request& request = requests_.front();
  auto job = [change = policy_.begin_change(), kind = request.kind, path = request.path, rules = rules_]() mutable {
    return prepare(std::move(change), kind, path, rules);
  };
  worker_.call(std::move(job), [self = std::weak_ptr<PolicyChanges*>(self_)](Prepared prepared) {
    if (auto alive = self.lock()) (*alive)->finish(std::move(prepared));
  });
}

PolicyChanges::Prepared PolicyChanges::prepare(PolicyChange change, Kind kind, const std::string& path,
                                               const TrustRules& rules) {
  auto info = prepare_object(change, kind, path, rules);
  return {std::move(change), std::move(info)};
}

Result<PolicyInfo> PolicyChanges::prepare_object(PolicyChange& change, Kind kind, const std::string& path,
                                                 const TrustRules& rules) {
  auto file = read_policy(path, rules);
  if (!file) return file.error();
  PolicyInfo info = info_of(*file);
  if (kind == Kind::kLoad && change.has(info.name))
    return Error("policy '" + info.name + "' is loaded already: swap replaces it", EEXIST);
  if (kind == Kind::kSwap && !change.has(info.name))
    return Error("policy '" + info.name + "' is not loaded: there is nothing to swap", ENOENT);
  if (kind == Kind::kVerify) {  // beside nothing else
    change.policies.assign(1, PolicyFile());
    change.current.reset();
    change.attach = false;
  }
  if (auto status = change.place(file.take()); !status) return status.error();
  if (auto status = change.prepare(); !status) return status.error().in(path);
  return info;
}

void PolicyChanges::finish(Prepared prepared) {
  Request request = std::move(requests_.front());
  requests_.pop_front();
  if (prepared.info && request.kind != Kind::kVerify)
    if (auto status = policy_.finish_change(prepared.change); !status) prepared.info = status.error().in(request.path);
  // What was in force, or was only tried, is closed on the worker: that takes its time, too.
  worker_.run([old = std::exchange(prepared.change, {})] {});
  if (!requests_.empty()) next();
  request.done(std::move(prepared.info));
}

}  // namespace pvsched
