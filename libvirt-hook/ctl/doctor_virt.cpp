// SPDX-License-Identifier: GPL-2.0-or-later
// What QEMU and libvirt must give.
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "common/procfs.h"
#include "ctl/doctor.h"

namespace pvsched {
namespace {

constexpr const char* kVersionMark = "pvsched-for-qemu=";

struct CloseDir {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

std::vector<std::string> entries(const std::string& path) {
  std::vector<std::string> names;
  std::unique_ptr<DIR, CloseDir> dir(::opendir(path.c_str()));
  while (dir) {
    const dirent* entry = ::readdir(dir.get());
    if (entry == nullptr) break;
    names.emplace_back(entry->d_name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Seconds since the epoch at which libvirt's QEMU daemon started.
std::optional<std::pair<std::string, time_t>> libvirt_start(const std::string& root) {
  auto stat = read_file(root + "/proc/stat");
  const auto pos = stat ? stat->find("\nbtime ") : std::string::npos;
  if (pos == std::string::npos) return std::nullopt;
  const long long boot = std::strtoll(stat->c_str() + pos + 7, nullptr, 10);
  for (const auto& name : entries(root + "/proc")) {
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    auto comm = read_file(root + "/proc/" + name + "/comm", 64);
    if (!comm || (*comm != "libvirtd\n" && *comm != "virtqemud\n")) continue;
    auto info = thread_info(root + "/proc", static_cast<pid_t>(std::strtol(name.c_str(), nullptr, 10)));
    if (!info) continue;
    const auto ticks = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
    return std::pair(comm->substr(0, comm->size() - 1),
                     static_cast<time_t>(boot + static_cast<long long>(info->start_time / ticks)));
  }
  return std::nullopt;
}

// "7.2.22" in "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)".
std::string plain_version(const std::string& text) {
  const auto start = text.find_first_of("0123456789");
  if (start == std::string::npos) return "";
  return text.substr(start, text.find_first_not_of("0123456789.", start) - start);
}

}  // namespace

Finding check_kvm(const DoctorEnv& env) {
  struct stat file {};
  const std::string path = env.root + "/dev/kvm";
  if (::stat(path.c_str(), &file) != 0)
    return {"kvm", Verdict::kBad, "/dev/kvm is missing: VMs run emulated only",
            "modprobe kvm_intel || modprobe kvm_amd"};
  if ((file.st_mode & 0006) == 0006) return {"kvm", Verdict::kOk, "/dev/kvm is open to all", ""};
  if ((file.st_mode & 0060) == 0060 && file.st_gid != 0)
    return {"kvm", Verdict::kOk, "/dev/kvm is open to its group", ""};
  return {"kvm", Verdict::kBad, "/dev/kvm is closed to QEMU's user", "chgrp kvm /dev/kvm && chmod 660 /dev/kvm"};
}

Finding check_hook(const DoctorEnv& env) {
  const std::string folder = "/etc/libvirt/hooks/qemu.d";
  for (const auto& name : entries(env.root + folder)) {
    if (name.find("pvsched") == std::string::npos) continue;
    struct stat file {};
    const std::string path = folder + "/" + name;
    if (::stat((env.root + path).c_str(), &file) != 0 || !S_ISREG(file.st_mode)) continue;
    if ((file.st_mode & 0111) == 0) return {"hook", Verdict::kBad, path + " is not executable", "chmod 755 " + path};
    const auto started = libvirt_start(env.root);
    if (started && file.st_ctime > started->second)
      return {"hook", Verdict::kWarning,
              path + " is newer than the running " + started->first +
                  ", which may not know it yet (it looks when it starts or gets SIGHUP)",
              "kill -HUP $(pidof " + started->first + ")"};
    return {"hook", Verdict::kOk, path, ""};
  }
  return {"hook", Verdict::kBad,
          "no pvsched hook in " + folder + ": invalid elements are not refused, starts are seen late",
          "install the package's hook as " + folder + "/50-pvsched, then kill -HUP libvirtd"};
}

// Whether "7.2.22 (1:7.2+dfsg-7)" names the package in "... (Debian 1:7.2+dfsg-7+b3)", binary rebuilds apart: the
// plugin refuses another one.
bool same_package(const std::string& running, const std::string& built) {
  const auto open = built.find('('), close = built.rfind(')');
  if (open == std::string::npos || close == std::string::npos || close < open) return true;
  const std::string package = built.substr(open + 1, close - open - 1);
  const auto at = running.find(package);
  if (at == std::string::npos) return false;
  const std::string rest = running.substr(at + package.size());
  return rest.empty() || rest[0] == ')' || rest.rfind("+b", 0) == 0;
}

Finding check_plugin(const DoctorEnv& env) {
  auto text = read_file(env.root + env.plugin, 64 << 20);
  if (!text)
    return {"plugin", Verdict::kWarning, env.plugin + " is missing: VMs are served without what their guest knows",
            "build the device for this QEMU: qemu-device/headers.sh"};
  const auto pos = text->find(kVersionMark);
  if (pos == std::string::npos)
    return {"plugin", Verdict::kSkipped,
            env.plugin + " does not say which QEMU it is for; QEMU itself checks when it loads it", ""};
  const std::string built = printable(text->substr(pos + std::strlen(kVersionMark)).c_str(), 80);
  auto running = env.qemu_version();
  if (!running) return {"plugin", Verdict::kSkipped, running.error().text(), ""};
  if (plain_version(*running) != plain_version(built) || !same_package(*running, built))
    return {
        "plugin", Verdict::kBad,
        env.plugin + " is for QEMU " + built + ", installed is " + printable(running->substr(0, running->find('\n'))),
        "build the device anew for this QEMU: qemu-device/headers.sh"};
  return {"plugin", Verdict::kOk, env.plugin + " is for QEMU " + built, ""};
}

Finding check_apparmor(const DoctorEnv& env) {
  auto on = read_file(env.root + "/sys/module/apparmor/parameters/enabled", 8);
  if (!on || on->empty() || (*on)[0] != 'Y') return {"apparmor", Verdict::kOk, "not in use", ""};
  const std::string local = "/etc/apparmor.d/local/abstractions/libvirt-qemu";
  auto rules = read_file(env.root + local);
  if (rules && rules->find("pvsched") != std::string::npos)
    return {"apparmor", Verdict::kOk, local + " lets QEMU make its QMP socket", ""};
  return {"apparmor", Verdict::kWarning, "QEMU may not make a QMP socket in /run/pvsched; libvirt's passthrough works",
          "cat " + env.apparmor_rules + " >> " + local};
}

const char* verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kOk:
      return "ok";
    case Verdict::kWarning:
      return "warning";
    case Verdict::kBad:
      return "bad";
    case Verdict::kSkipped:
      return "skipped";
  }
  return "";
}

std::vector<Finding> examine(const DoctorEnv& env) {
  std::vector<Finding> findings = {check_kernel(env),   check_btf(env),       check_bpf(env),
                                   check_rt_limit(env), check_rt_groups(env), check_kvm(env)};
  std::optional<Json> status;
  auto answer = env.daemon();
  if (answer) {
    status = *answer;
    findings.push_back(
        {"daemon", Verdict::kOk, "pvschedd " + string_member(*answer, "version").value_or("?") + " answers", ""});
  } else {
    findings.push_back({"daemon", Verdict::kBad, answer.error().text(), "systemctl start pvschedd"});
  }
  findings.push_back(check_capabilities(env, status));
  findings.push_back(check_sources(status));
  auto libvirt = env.libvirt();
  findings.push_back(libvirt ? Finding{"libvirt", Verdict::kOk, "answers", ""}
                             : Finding{"libvirt", Verdict::kBad, libvirt.error().text(), "systemctl start libvirtd"});
  findings.push_back(check_hook(env));
  findings.push_back(check_plugin(env));
  findings.push_back(check_apparmor(env));
  return findings;
}

}  // namespace pvsched
