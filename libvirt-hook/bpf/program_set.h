// SPDX-License-Identifier: GPL-2.0-or-later
// ProgramSet: one generation of the policy's programs, loaded and, on demand, attached.
//
// Generations share all maps; the one that pvs_globals.active names evaluates. So a new one is loaded and attached
// beside the old one, takes over with one store, and no event is lost. One thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bpf/policy_file.h"
#include "common/fd.h"
#include "common/result.h"
#include "sched/engine.h"

struct bpf_link;
struct bpf_object;
struct pvs_self;

namespace pvsched {

/// Loads and attaches the empty program of each source, one by one. `framework` is the path of pvsched.bpf.o; the
/// probes stand beside it. Errors: a source that there is no policy without is missing.
Result<std::vector<SourceInfo>> probe_sources(const std::string& framework);

/// The framework's object with a policy in each slot named, as one object in memory. Errors: libbpf's last lines.
Result<Fd> link_policies(const std::string& framework, const std::map<unsigned, const PolicyFile*>& slots);

class ProgramSet {
 public:
  /// Loads a linked object with the sources that there are; maps are `shared`'s where that is one. Errors: the
  /// verifier's last lines.
  static Result<std::unique_ptr<ProgramSet>> load(const Fd& object, const std::vector<SourceInfo>& sources,
                                                  const pvs_self& self, const ProgramSet* shared);
  ~ProgramSet();
  ProgramSet(const ProgramSet&) = delete;
  ProgramSet& operator=(const ProgramSet&) = delete;

  std::uint32_t generation() const { return generation_; }
  int map(const char* name) const;  ///< descriptor of a map; -1 if there is none
  std::size_t value_size(const char* name) const;  ///< of a map, in bytes
  /// Runs the control program once; returns what it returned. Errors: the kernel refuses to.
  Result<unsigned> run_control();

  Status attach(const std::vector<SourceInfo>& sources);
  void detach();
  bool attached() const { return !links_.empty(); }

 private:
  ProgramSet() = default;
  bpf_object* object_ = nullptr;
  std::vector<bpf_link*> links_;
  std::uint32_t generation_ = 0;
  bool control_is_syscall_ = false;
};

}  // namespace pvsched
