// SPDX-License-Identifier: GPL-2.0-or-later
#include "sched/group_weight.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "common/fd.h"
#include "sched/baselines.h"

namespace pvsched {
namespace {

struct Kind {
  const char* file;
  long least;
};
constexpr Kind kKinds[] = {{"/cpu.weight", 1}, {"/cpu.shares", 2}};  // cgroup versions 2 and 1

long read_number(const char* path) {
  char text[32];
  Fd fd(open(path, O_RDONLY | O_CLOEXEC));
  const ssize_t got = fd ? read(fd.get(), text, sizeof(text) - 1) : -1;
  if (got <= 0) return -1;
  text[got] = '\0';
  return std::strtol(text, nullptr, 10);
}

bool write_number(const char* path, long value) {
  char text[32];
  Fd fd(open(path, O_WRONLY | O_TRUNC | O_CLOEXEC));
  const int length = std::snprintf(text, sizeof(text), "%ld", value);
  return fd && write(fd.get(), text, static_cast<std::size_t>(length)) == length;
}

// Where the hierarchy with the cpu controller is mounted, and the thread's path in it.
std::pair<std::string, std::string> cpu_cgroup(const RtGroups& roots, pid_t tid) {
  for (const char* name : {"/cpu", "/cpu,cpuacct", "/cpuacct,cpu"})
    if (access((roots.cgroup + name + "/cpu.shares").c_str(), F_OK) == 0)
      return {roots.cgroup + name, cgroup_path(roots.proc, tid, "cpu")};
  for (const char* name : {"", "/unified"})
    if (access((roots.cgroup + name + "/cgroup.controllers").c_str(), F_OK) == 0)
      return {roots.cgroup + name, cgroup_path(roots.proc, tid, "")};
  return {};
}

// Whether all processes in the group and below it are this one.
bool holds_only(const std::string& group, pid_t pid) {
  auto only = [pid](const std::string& folder) {
    std::ifstream file(folder + "/cgroup.procs");
    for (pid_t other; file >> other;)
      if (other != pid) return false;
    return true;
  };
  if (!only(group)) return false;
  std::error_code error;
  for (const auto& item : std::filesystem::recursive_directory_iterator(group, error))
    if (item.is_directory(error) && !only(item.path().string())) return false;
  return true;
}

}  // namespace

std::string weight_group_of(const RtGroups& roots, pid_t pid) {
  const auto [mount, leaf] = cpu_cgroup(roots, pid);
  // libvirt's own layout: the VM's cgroup holds its helpers as well.
  for (const std::string below : {"/libvirt/emulator", "/emulator"})
    if (leaf.ends_with(below)) return mount + leaf.substr(0, leaf.size() - below.size());
  std::string found;
  for (std::string path = leaf; path.size() > 1; path = path.substr(0, path.rfind('/'))) {
    const std::string group = mount + path;
    if (!holds_only(group, pid)) break;
    for (const Kind& kind : kKinds)
      if (access((group + kind.file).c_str(), W_OK) == 0) found = group;
  }
  return found;
}

bool note_weight(const std::string& group, WeightEntry& entry) {
  for (const Kind& kind : kKinds) {
    const std::string path = group + kind.file;
    const long weight = read_number(path.c_str());
    if (weight < 0 || path.size() >= sizeof(entry.path)) continue;
    std::memcpy(entry.path, path.c_str(), path.size() + 1);
    entry.baseline = weight;
    entry.least = kind.least;
    entry.lowered = 0;
    entry.active = 1;
    return true;
  }
  return false;
}

bool set_lowered(WeightEntry& entry, bool lowered) {
  if (!entry.active || (entry.lowered != 0) == lowered) return true;
  const long now = read_number(entry.path);
  if (now < 0) return true;  // gone with its VM
  if (lowered) {
    entry.baseline = now;  // an administrator may have set another since
    entry.lowered = 1;  // before it is touched
    if (now <= entry.least || write_number(entry.path, entry.least)) return true;
    entry.lowered = 0;
    return false;
  }
  if (now == entry.least && !write_number(entry.path, entry.baseline)) return false;
  entry.lowered = 0;
  return true;
}

}  // namespace pvsched
