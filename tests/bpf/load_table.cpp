// SPDX-License-Identifier: GPL-2.0-or-later
// Loads the framework with each policy on the kernel that runs, and prints rows of a table: kernel, libbpf, policy,
// event sources that are there, programs, instructions that the verifier has gone through. tests/lab/loads.py makes the
// table of all kernels. Exit status 1: one was refused.
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/policy_change.h"
#include "bpf/policy_library.h"
#include "maps.h"

using namespace pvsched;

namespace {

struct Verified {
  unsigned programs = 0;
  unsigned long long instructions = 0, most = 0;
};

// What the kernel says of this process's programs, all of which are of one object.
Verified verified() {
  Verified out;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    if (std::filesystem::read_symlink(entry.path(), gone).string().find("bpf-prog") == std::string::npos) continue;
    bpf_prog_info info{};
    __u32 size = sizeof(info);
    if (bpf_obj_get_info_by_fd(std::stoi(entry.path().filename().string()), &info, &size)) continue;
    ++out.programs;
    out.instructions += info.verified_insns;
    out.most = std::max<unsigned long long>(out.most, info.verified_insns);
  }
  return out;
}

std::string available(const std::vector<SourceInfo>& sources) {
  const auto count = std::count_if(sources.begin(), sources.end(), [](const SourceInfo& s) { return s.available; });
  return std::to_string(count) + " of " + std::to_string(sources.size());
}

bool row(const std::string& name, const PolicyChange& base, const std::vector<PolicyFile>& policies) {
  utsname kernel{};
  uname(&kernel);
  PolicyChange change = base;
  change.policies = policies;
  const auto done = change.prepare();
  const Verified sum = verified();
  std::printf("| %s | %s | %s | %s | ", kernel.release, libbpf_version_string(), name.c_str(),
              available(base.sources).c_str());
  if (done)
    std::printf("%u | %llu | %llu | loaded |\n", sum.programs, sum.instructions, sum.most);
  else
    std::printf("– | – | – | %s |\n", done.error().text().c_str());
  return static_cast<bool>(done);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: load_table pvsched.bpf.o POLICIES\n");
    return 2;
  }
  if (geteuid() != 0) {
    std::printf("SKIP: loading BPF programs needs root\n");
    return 77;
  }
  PolicyChange base;
  base.framework = argv[1];
  auto sources = probe_sources(base.framework);
  if (!sources) {
    std::fprintf(stderr, "%s\n", sources.error().text().c_str());
    return 1;
  }
  base.sources = sources.take();
  auto library = read_library({argv[2]}, TrustRules());
  for (const PolicyInfo& info : library.refused) std::fprintf(stderr, "%s\n", info.refused.c_str());
  bool all = library.refused.empty() && !library.policies.empty();
  for (const PolicyFile& policy : library.policies) all &= row(policy.name, base, {policy});
  all &= row("all of them", base, library.policies);
  return all ? 0 : 1;
}
