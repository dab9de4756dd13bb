// SPDX-License-Identifier: GPL-2.0-or-later
// What the host's kernel must give.
#include <dirent.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "common/procfs.h"
#include "ctl/doctor.h"

namespace pvsched {
namespace {

std::optional<long> read_number(const std::string& path) {
  auto text = read_file(path, 64);
  if (!text) return std::nullopt;
  char* end = nullptr;
  const long value = std::strtol(text->c_str(), &end, 10);
  if (end == text->c_str()) return std::nullopt;
  return value;
}

struct Capability {
  unsigned bit;
  const char* name;
};
constexpr Capability kNeeded[] = {
    {21, "CAP_SYS_ADMIN"}, {39, "CAP_BPF"}, {38, "CAP_PERFMON"}, {23, "CAP_SYS_NICE"}, {1, "CAP_DAC_OVERRIDE"}};

}  // namespace

Finding check_kernel(const DoctorEnv& env) {
  int major = 0;
  int minor = 0;
  if (std::sscanf(env.kernel_release.c_str(), "%d.%d", &major, &minor) != 2)
    return {"kernel", Verdict::kSkipped, "release '" + env.kernel_release + "' cannot be understood", ""};
  if (major > 5 || (major == 5 && minor >= 15)) return {"kernel", Verdict::kOk, env.kernel_release, ""};
  return {"kernel", Verdict::kBad, env.kernel_release + " is older than 5.15", "boot a kernel of 5.15 or later"};
}

Finding check_btf(const DoctorEnv& env) {
  struct stat file {};
  if (::stat((env.root + "/sys/kernel/btf/vmlinux").c_str(), &file) == 0) return {"btf", Verdict::kOk, "present", ""};
  return {"btf", Verdict::kBad, "/sys/kernel/btf/vmlinux is missing: programs cannot be adapted to this kernel",
          "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y"};
}

Finding check_bpf(const DoctorEnv& env) {
  const int code = env.try_bpf();
  if (code == 0) return {"bpf", Verdict::kOk, "maps can be made", ""};
  if (code == EPERM || code == EACCES) return {"bpf", Verdict::kBad, "no permission to use BPF", "run as root"};
  return {"bpf", Verdict::kBad, std::string("bpf(2) fails: ") + std::strerror(code),
          "boot a kernel built with CONFIG_BPF_SYSCALL=y"};
}

Finding check_rt_limit(const DoctorEnv& env) {
  const auto runtime = read_number(env.root + "/proc/sys/kernel/sched_rt_runtime_us");
  if (!runtime) return {"rt-limit", Verdict::kSkipped, "sched_rt_runtime_us cannot be read", ""};
  if (*runtime == 0)
    return {"rt-limit", Verdict::kBad, "real-time threads may not run at all (sched_rt_runtime_us is 0)",
            "sysctl kernel.sched_rt_runtime_us=950000"};
  if (*runtime < 0)
    return {"rt-limit", Verdict::kWarning, "real-time threads may take a CPU for ever (sched_rt_runtime_us is -1)",
            "sysctl kernel.sched_rt_runtime_us=950000"};
  return {"rt-limit", Verdict::kOk, "sched_rt_runtime_us is " + std::to_string(*runtime), ""};
}

Finding check_rt_groups(const DoctorEnv& env) {
  for (const char* mount : {"/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu"}) {
    const std::string base = env.root + mount;
    const auto whole = read_number(base + "/cpu.rt_runtime_us");
    if (!whole) continue;
    for (const char* group : {"/machine.slice", "/machine"}) {
      const auto own = read_number(base + group + "/cpu.rt_runtime_us");
      if (own && *own == 0)
        return {"rt-groups", Verdict::kWarning,
                std::string("the kernel groups real-time threads and libvirt's group ") + group +
                    " has no run time: pvschedd gives its VMs some, or boosts by nice instead (see status)",
                "echo 400000 > " + std::string(mount) + group + "/cpu.rt_runtime_us"};
      if (own)
        return {"rt-groups", Verdict::kOk,
                std::string("libvirt's group ") + group + " has " + std::to_string(*own) + " us", ""};
    }
    return {"rt-groups", Verdict::kWarning,
            "the kernel groups real-time threads (cgroup v1): pvschedd gives VMs run time, or boosts by nice instead",
            ""};
  }
  return {"rt-groups", Verdict::kOk, "real-time threads are not grouped", ""};
}

Finding check_capabilities(const DoctorEnv& env, const std::optional<Json>& status) {
  std::string process = "self";
  if (status)
    if (auto pid = int_member(*status, "pid")) process = std::to_string(*pid);
  auto text = read_file(env.root + "/proc/" + process + "/status");
  const std::string who = process == "self" ? "this shell" : "pvschedd";
  const auto pos = text ? text->find("CapEff:") : std::string::npos;
  if (pos == std::string::npos) return {"capabilities", Verdict::kSkipped, "CapEff of " + who + " cannot be read", ""};
  const unsigned long long effective = std::strtoull(text->c_str() + pos + 7, nullptr, 16);
  std::string missing;
  for (const auto& needed : kNeeded)
    if ((effective >> needed.bit & 1) == 0) missing += std::string(missing.empty() ? "" : ", ") + needed.name;
  if (missing.empty()) return {"capabilities", Verdict::kOk, who + " has all", ""};
  return {"capabilities", Verdict::kBad, who + " lacks " + missing,
          process == "self" ? "run as root" : "systemctl edit pvschedd, CapabilityBoundingSet="};
}

Finding check_sources(const std::optional<Json>& status) {
  if (!status) return {"events", Verdict::kSkipped, "only a running pvschedd knows its event sources", ""};
  std::string missing;
  bool scheduler = false;
  int count = 0;
  for (const auto& source : member(*status, "sources")) {
    const std::string name = string_member(source, "name").value_or("?");
    if (bool_member(source, "available") == true) {
      ++count;
      scheduler |= name == "sched_switch";
    } else {
      missing += (missing.empty() ? "" : ", ") + name + " (" + string_member(source, "reason").value_or("?") + ")";
    }
  }
  if (!scheduler)
    return {"events", Verdict::kBad, "sched_switch is not available: " + missing, "journalctl -u pvschedd"};
  return {"events", Verdict::kOk, std::to_string(count) + " sources" + (missing.empty() ? "" : "; without " + missing),
          ""};
}

}  // namespace pvsched
