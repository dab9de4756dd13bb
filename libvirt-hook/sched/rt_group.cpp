// SPDX-License-Identifier: GPL-2.0-or-later
#include "sched/rt_group.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>

#include "sched/baselines.h"

namespace pvsched {
namespace {

const char* const kFile = "/cpu.rt_runtime_us";

std::optional<long> read_runtime(const std::string& group) {
  std::ifstream file(group + kFile);
  long value;
  if (!(file >> value)) return std::nullopt;
  return value;
}

bool write_runtime(const std::string& group, long us) {
  std::ofstream file(group + kFile);
  return static_cast<bool>(file << us << std::flush);
}

// Where the cpu controller of cgroup v1 is mounted, empty if nowhere.
std::string cpu_mount(const std::string& cgroup) {
  for (const char* name : {"/cpu", "/cpu,cpuacct", "/cpuacct,cpu"})
    if (access((cgroup + name + kFile).c_str(), F_OK) == 0) return cgroup + name;
  return {};
}

// What the root's children leave of its run time.
long left_at_root(const std::string& mount, const std::set<std::string>& children) {
  long left = read_runtime(mount).value_or(0);
  for (const auto& child : children) left -= std::max(0l, read_runtime(child).value_or(0));
  return left;
}

std::set<std::string> children_of(const std::string& group) {
  std::set<std::string> out;
  std::error_code error;
  for (const auto& item : std::filesystem::directory_iterator(group, error))
    if (item.is_directory(error)) out.insert(item.path().string());
  return out;
}

FundEntry* free_entry(BaselineTable& table, std::vector<unsigned>& notes) {
  // A parent is noted before its children, at a lower index: give_back goes by falling index.
  for (unsigned i = notes.empty() ? 0 : notes.back() + 1; i < kMaxFunds; ++i) {
    if (table.funds[i].active) continue;
    notes.push_back(i);
    return &table.funds[i];
  }
  return nullptr;
}

}  // namespace

std::string cgroup_path(const std::string& proc, pid_t tid, const std::string& controller) {
  std::ifstream file(proc + "/" + std::to_string(tid) + "/cgroup");
  std::string line;
  while (std::getline(file, line)) {  // "5:cpu,cpuacct:/machine/..."
    auto first = line.find(':');
    auto second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    if (controllers.find("," + controller + ",") != std::string::npos) return line.substr(second + 1);
  }
  return {};
}

std::string rt_group_of(const RtGroups& roots, pid_t tid) {
  std::string mount = cpu_mount(roots.cgroup);
  if (mount.empty()) return {};
  std::string path = cgroup_path(roots.proc, tid, "cpu");
  if (path.empty()) return {};
  return path == "/" ? mount : mount + path;
}

bool needs_funds(const RtGroups& roots, pid_t tid) {
  std::string group = rt_group_of(roots, tid);
  return !group.empty() && read_runtime(group) == 0;
}

Status fund(const RtGroups& roots, const std::vector<pid_t>& tids, BaselineTable& table, std::vector<unsigned>& notes) {
  std::string mount = cpu_mount(roots.cgroup);
  std::set<std::string> leaves;
  for (pid_t tid : tids)
    if (needs_funds(roots, tid)) leaves.insert(rt_group_of(roots, tid));
  if (leaves.empty()) return {};

  long left = left_at_root(mount, children_of(mount));
  // Half of what is left, so that a VM that comes later finds some too.
  long each = std::min(kFundWantedUs, left / 2 / static_cast<long>(leaves.size()));
  if (each < kFundLeastUs)
    return Error("real-time run time: " + std::to_string(left) + " us of each second are left, " +
                 std::to_string(2 * kFundLeastUs * static_cast<long>(leaves.size())) + " are needed");

  std::map<std::string, long> raises;  // in order: a parent's path sorts before its children's
  for (const auto& leaf : leaves)
    for (std::string group = leaf; group.size() > mount.size(); group = group.substr(0, group.rfind('/')))
      raises[group] += each;

  std::vector<unsigned> made;
  for (const auto& [group, us] : raises) {
    long before = read_runtime(group).value_or(0);
    FundEntry* entry = group.size() < sizeof(entry->path) ? free_entry(table, made) : nullptr;
    if (entry) {
      std::memcpy(entry->path, group.c_str(), group.size() + 1);
      entry->added_us = us;
      entry->active = 1;
      if (write_runtime(group, std::max(0l, before) + us)) continue;
      entry->active = 0;
    }
    for (auto note = made.rbegin(); note != made.rend(); ++note) give_back(table.funds[*note]);
    return Error::system("cannot give real-time run time to " + group);
  }
  notes.insert(notes.end(), made.begin(), made.end());
  return {};
}

bool give_back(FundEntry& entry) {
  if (!entry.active) return true;
  auto now = read_runtime(entry.path);  // nothing: the cgroup is gone with its VM
  if (now && !write_runtime(entry.path, std::max<long>(0, *now - entry.added_us))) return false;
  entry.active = 0;
  return true;
}

}  // namespace pvsched
