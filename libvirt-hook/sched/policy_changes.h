// SPDX-License-Identifier: GPL-2.0-or-later
// PolicyChanges: policy objects read, checked and verified on a thread of their own, one after another, and put in
// force on the main thread, which goes on meanwhile.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "bpf/policy_object.h"
#include "common/loop.h"
#include "sched/engine.h"

namespace pvsched {

class PolicyChanges {
 public:
  enum class Kind { kLoad, kSwap, kVerify };

  PolicyChanges(Policy& policy, TrustRules rules);
  PolicyChanges(const PolicyChanges&) = delete;
  PolicyChanges& operator=(const PolicyChanges&) = delete;

  /// Takes an object up; `done` is called on the main thread, not at once, and not after this object is gone.
  void take(Kind kind, const std::string& path, Engine::PolicyDone done);

 private:
  struct Request {
    Kind kind;
    std::string path;
    Engine::PolicyDone done;
  };
  struct Prepared {
    PolicyChange change;
    Result<PolicyInfo> info;
  };

  static Prepared prepare(PolicyChange change, Kind kind, const std::string& path, const TrustRules& rules);
  static Result<PolicyInfo> prepare_object(PolicyChange& change, Kind kind, const std::string& path,
                                           const TrustRules& rules);
  void next();
  void finish(Prepared prepared);

  Policy& policy_;
  TrustRules rules_;
  std::deque<Request> requests_;  ///< the first is under way
  Worker worker_;
  std::shared_ptr<PolicyChanges*> self_;  ///< expires with this object
};

}  // namespace pvsched
