// SPDX-License-Identifier: GPL-2.0-or-later
// pvschedd.conf: reading and checking.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "bpf/policy_trust.h"
#include "common/cpus.h"
#include "daemon/log.h"
#include "daemon/tags.h"

namespace pvsched {

struct Config {
  std::string socket;  ///< default: RUN_DIR/pvschedd.sock
  std::string run_dir;
  std::string schema;
  std::string bpf_object;
  std::vector<std::string> policies;  ///< folders of policy objects
  TrustRules trust;  ///< of policy objects
  std::string guardian;
  std::string actuator = "setattr";  ///< or "scx"
  std::string scheduler;  ///< the sched_ext scheduler's object
  unsigned lease_ms = 200;
  unsigned actuator_priority = 99;
  unsigned reconcile_s = 5;  ///< 0: only for a reason
  std::string libvirt_uri = "qemu:///system";  ///< "none": without libvirt
  std::string libvirt_run = "/run/libvirt/qemu";
  LogLevel log_level = LogLevel::kInfo;
  std::string log_target = "auto";
  OwnTags tags;
  std::map<std::string, CpuRule> tag_cpus;  ///< by a tag's name

  std::string socket_path() const { return socket.empty() ? run_dir + "/pvschedd.sock" : socket; }
};

/// The configuration with the paths of this build.
Config default_config();

/// What was read, and one sentence for each fault: "FILE:LINE: [GROUP] KEY=VALUE: what is allowed".
struct ConfigReading {
  Config config;
  std::vector<std::string> faults;
};

/// Reads a configuration's text over `base`; `file` is for the sentences.
ConfigReading read_config(const std::string& text, const std::string& file, const Config& base);

/// The same from a file. A file that is not there is an empty one, unless `needed`.
ConfigReading load_config(const std::string& file, const Config& base, bool needed);

}  // namespace pvsched
