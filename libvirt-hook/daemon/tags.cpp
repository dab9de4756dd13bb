// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/tags.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <sstream>

#include "common/json.h"
#include "common/procfs.h"
#include "metadata/attributes.h"
#include "pvsched/tags.h"

namespace pvsched {
namespace {

namespace fs = std::filesystem;

#define PVS_TAG_ENTRY(name, tag) {name, tag},
const std::pair<const char*, TagValue> kKnown[] = {PVS_TAGS(PVS_TAG_ENTRY)};
#undef PVS_TAG_ENTRY

// The file of a cgroup's folder that lists its threads: of version 2, of version 1.
constexpr const char* kThreadLists[] = {"cgroup.threads", "tasks"};
constexpr std::size_t kMaxListBytes = 1 << 20;

Result<std::string> threads_of(const std::string& folder) {
  for (const char* list : kThreadLists)
    if (auto text = read_file(folder + "/" + list, kMaxListBytes)) return text;
  return Error(folder + " is no cgroup's folder", ENOENT);
}

std::string canonical(const std::string& path) {
  std::error_code error;
  auto real = fs::canonical(path, error);
  return error ? path : real.string();
}

}  // namespace

std::string tag_fault(const std::string& name, const std::string& value) {
  if (!valid_name(name)) return "allowed as a name are a lower-case letter, then up to 30 of a-z, 0-9 and -";
  for (const auto& [known, tag] : kKnown)
    if (name == known) return "this name is known already, as " + std::to_string(tag);
  TagValue number = 0;
  auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (code != std::errc() || end != value.data() + value.size() || number < PVS_TAG_OWN_MIN || number > PVS_TAG_MAX)
    return "allowed is a whole number from " + std::to_string(PVS_TAG_OWN_MIN) + " to " + std::to_string(PVS_TAG_MAX);
  return "";
}

std::vector<std::pair<std::string, TagValue>> Tags::names() const {
  std::vector<std::pair<std::string, TagValue>> out(std::begin(kKnown), std::end(kKnown));
  out.insert(out.end(), own_.begin(), own_.end());
  return out;
}

Result<TagValue> Tags::find(const std::string& name) const {
  std::string known;
  for (const auto& [other, tag] : names()) {
    if (name == other) return tag;
    known += (known.empty() ? "" : ", ") + other;
  }
  return Error("no tag has the name '" + printable(name, 40) + "'; known are " + known, ENOENT);
}

std::string Tags::name(TagValue tag) const {
  for (const auto& [name, other] : names())
    if (tag == other) return name;
  return std::to_string(tag);
}

Status Tags::set_thread(pid_t tid, TagValue tag) {
  auto info = thread_info(proc_, tid);
  if (!info) return info.error().in("thread " + std::to_string(tid));
  threads_[tid] = {info->start_time, tag};
  return {};
}

Status Tags::set_cgroup(const std::string& path, TagValue tag) {
  const std::string folder = canonical(path);
  if (auto there = threads_of(folder); !there) return there.error();
  cgroups_[folder] = tag;
  scan();
  return {};
}

Status Tags::clear_thread(pid_t tid) {
  if (threads_.erase(tid) == 0) return Error("thread " + std::to_string(tid) + " has no tag of its own", ENOENT);
  return {};
}

Status Tags::clear_cgroup(const std::string& path) {
  if (cgroups_.erase(canonical(path)) == 0) return Error(path + " has no tag", ENOENT);
  scan();
  return {};
}

// The map's order has a folder before what is in it: the nearest writes last.
void Tags::scan() {
  std::erase_if(threads_, [&](const auto& entry) {
    auto info = thread_info(proc_, entry.first);
    return !info || info->start_time != entry.second.start_time;
  });
  in_cgroups_.clear();
  for (auto it = cgroups_.begin(); it != cgroups_.end();) {
    const auto& [folder, tag] = *it;
    auto list = threads_of(folder);
    if (!list) {
      it = cgroups_.erase(it);
      continue;
    }
    auto take = [&](const std::string& text) {
      std::istringstream in(text);
      for (pid_t tid = 0; in >> tid;) in_cgroups_[tid] = tag;
    };
    take(*list);
    std::error_code error;  // a folder that goes meanwhile ends the walk: the next scan goes on
    for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
      if (at->is_directory(error))
        if (auto inner = threads_of(at->path().string())) take(*inner);
    ++it;
  }
}

std::optional<TagValue> Tags::thread(pid_t tid) const {
  auto it = threads_.find(tid);
  return it == threads_.end() ? std::nullopt : std::optional(it->second.tag);
}

std::optional<TagValue> Tags::cgroup(pid_t tid) const {
  auto it = in_cgroups_.find(tid);
  return it == in_cgroups_.end() ? std::nullopt : std::optional(it->second);
}

std::set<pid_t> Tags::tagged(TagValue tag) const {
  std::set<pid_t> out;
  for (const auto& [tid, other] : in_cgroups_)
    if (other == tag && !threads_.contains(tid)) out.insert(tid);
  for (const auto& [tid, thread] : threads_)
    if (thread.tag == tag) out.insert(tid);
  return out;
}

}  // namespace pvsched
