// SPDX-License-Identifier: GPL-2.0-or-later
#include "bpf/policy_library.h"

#include <algorithm>
#include <filesystem>

#include "policy.h"

namespace pvsched {
namespace {

std::vector<std::string> objects_in(const std::string& folder) {
  std::vector<std::string> paths;
  std::error_code ignored;  // a folder that is not there is an empty one
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored))
    if (entry.path().string().ends_with(".bpf.o")) paths.push_back(entry.path().string());
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace

PolicyInfo info_of(const PolicyFile& file) {
  return {file.name, file.version, file.summary, file.path, file.trust, ""};
}

PolicyLibrary read_library(const std::vector<std::string>& folders, const TrustRules& rules) {
  PolicyLibrary library;
  auto refuse = [&](PolicyInfo info, const std::string& why) {
    info.refused = why;
    library.refused.push_back(std::move(info));
  };
  for (const std::string& fault : faults_of_keys(rules.keys)) refuse({}, fault);
  for (const std::string& folder : folders) {
    for (const std::string& path : objects_in(folder)) {
      auto file = read_policy(path, rules);
      if (!file) {
        refuse({"", "", "", path, "", ""}, file.error().text());
        continue;
      }
      auto same = [&](const PolicyFile& other) { return other.name == file->name; };
      auto found = std::find_if(library.policies.begin(), library.policies.end(), same);
      if (found != library.policies.end())
        refuse(info_of(*file), path + ": " + found->path + " has this name and comes first");
      else
        library.policies.push_back(file.take());
    }
  }
  auto rank = [](const PolicyFile& file) { return std::make_pair(file.name != kDefaultPolicy, file.name); };
  std::sort(library.policies.begin(), library.policies.end(),
            [&](const PolicyFile& a, const PolicyFile& b) { return rank(a) < rank(b); });
  while (library.policies.size() > PVS_POLICY_SLOTS) {
    refuse(info_of(library.policies.back()),
           library.policies.back().path + ": all " + std::to_string(PVS_POLICY_SLOTS) + " slots are taken");
    library.policies.pop_back();
  }
  return library;
}

}  // namespace pvsched
