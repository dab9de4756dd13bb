// SPDX-License-Identifier: GPL-2.0-or-later
// The checks of `pvschedctl doctor`: what must be true of a host, what is wrong, and the command that mends it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/json.h"
#include "common/result.h"

namespace pvsched {

enum class Verdict {
  kOk,
  kWarning,  ///< works, but less well
  kBad,
  kSkipped,  ///< could not be looked at, and why
};

struct Finding {
  std::string check;
  Verdict verdict;
  std::string text;
  std::string mend;  ///< a command, or empty
};

/// Where the checks look; tests inject trees and answers.
struct DoctorEnv {
  std::string root;  ///< before /proc, /sys, /dev, /etc
  std::string kernel_release;
  std::string plugin;
  std::string apparmor_rules = "/usr/share/pvsched/apparmor-libvirt-qemu";
  std::function<int()> try_bpf;  ///< 0, or the errno of making a small map
  std::function<Result<std::string>()> qemu_version;  ///< what `qemu-system-x86_64 --version` prints
  std::function<Result<Json>()> daemon;  ///< the daemon's status
  std::function<Status()> libvirt;  ///< can it be reached?
};

std::vector<Finding> examine(const DoctorEnv& env);

const char* verdict_name(Verdict verdict);

// The single checks, in doctor_host.cpp and doctor_virt.cpp.
Finding check_kernel(const DoctorEnv& env);
Finding check_btf(const DoctorEnv& env);
Finding check_bpf(const DoctorEnv& env);
Finding check_rt_limit(const DoctorEnv& env);
Finding check_rt_groups(const DoctorEnv& env);
Finding check_capabilities(const DoctorEnv& env, const std::optional<Json>& status);
Finding check_sources(const std::optional<Json>& status);
Finding check_kvm(const DoctorEnv& env);
Finding check_hook(const DoctorEnv& env);
Finding check_plugin(const DoctorEnv& env);
Finding check_apparmor(const DoctorEnv& env);

}  // namespace pvsched
