// SPDX-License-Identifier: GPL-2.0-or-later
#include "bpf/program_set.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/libbpf_text.h"
#include "maps.h"
#include "sources.h"

namespace pvsched {
namespace {

struct SourceName {
  const char* kind;
  const char* name;
};

#define PVS_SOURCE_NAME(kind, name) SourceName{#kind, #name},
constexpr SourceName kSources[] = {PVS_SOURCES(PVS_SOURCE_NAME)};

std::string probe_path(const std::string& framework) {
  auto slash = framework.rfind('/');
  return (slash == std::string::npos ? std::string() : framework.substr(0, slash + 1)) + "probe.bpf.o";
}

// Loads and attaches the empty program of one source; returns why not, or nothing.
std::string try_source(const std::string& path, const char* name) {
  LibbpfText text;
  bpf_object* object = bpf_object__open_file(path.c_str(), nullptr);
  if (!object) return "cannot open " + path + ": " + std::strerror(errno);
  bpf_program* program;
  bpf_object__for_each_program(program, object)
      bpf_program__set_autoload(program, std::strcmp(bpf_program__name(program), name) == 0);
  std::string reason;
  int err = bpf_object__load(object);
  if (err == -ESRCH || err == -ENOENT) {
    reason = "not in this kernel";
  } else if (err) {
    reason = std::string("refused by the kernel: ") + std::strerror(-err);
  } else {
    bpf_link* link = bpf_program__attach(bpf_object__find_program_by_name(object, name));
    if (!link) reason = std::string("loads but does not attach: ") + std::strerror(errno);
    bpf_link__destroy(link);
  }
  bpf_object__close(object);
  return reason;
}

// libbpf's linker takes and makes files by path: these are in memory.
std::string path_of(const Fd& fd) { return "/proc/self/fd/" + std::to_string(fd.get()); }

constexpr std::uint32_t kSleepable = 1U << 4;  // BPF_F_SLEEPABLE

Result<Fd> memory_file(const char* name, const Bytes& content) {
  Fd fd(memfd_create(name, MFD_CLOEXEC));
  if (!fd) return Error::system("cannot create a file in memory");
  if (!content.empty() && write(fd.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size()))
    return Error::system("cannot write to a file in memory");
  return fd;
}

}  // namespace

Result<std::vector<SourceInfo>> probe_sources(const std::string& framework) {
  std::vector<SourceInfo> sources;
  for (const SourceName& source : kSources) {
    SourceInfo info;
    info.name = std::string(source.kind) == "fentry" ? std::string("fentry:") + source.name : source.name;
    info.reason = try_source(probe_path(framework), source.name);
    info.available = info.reason.empty();
    if (!info.available && sources.size() < PVS_REQUIRED_SOURCES)
      return Error("event source " + info.name + " is needed: " + info.reason);
    sources.push_back(std::move(info));
  }
  return sources;
}

Result<Fd> link_policies(const std::string& framework, const std::map<unsigned, const PolicyFile*>& slots) {
  LibbpfText text;
  auto linked = memory_file("pvsched.bpf.o", {});
  if (!linked) return linked.error();
  std::unique_ptr<bpf_linker, void (*)(bpf_linker*)> linker(bpf_linker__new(path_of(*linked).c_str(), nullptr),
                                                            bpf_linker__free);
  if (!linker) return Error::system("cannot start libbpf's linker (" + text.tail(2) + ")");
  if (int err = bpf_linker__add_file(linker.get(), framework.c_str(), nullptr); err)
    return Error::system("cannot link " + framework + " (" + text.tail(2) + ")", -err);
  for (const auto& [slot, policy] : slots) {
    auto object = memory_file("policy.bpf.o", policy->in_slot(slot));
    if (!object) return object.error();
    if (int err = bpf_linker__add_file(linker.get(), path_of(*object).c_str(), nullptr); err)
      return Error::system("cannot link " + policy->path + " (" + text.tail(2) + ")", -err);
  }
  if (int err = bpf_linker__finalize(linker.get()); err)
    return Error::system("cannot link the policies (" + text.tail(2) + ")", -err);
  return linked;
}

Result<std::unique_ptr<ProgramSet>> ProgramSet::load(const Fd& object, const std::vector<SourceInfo>& sources,
                                                     const pvs_self& self, const ProgramSet* shared) {
  LibbpfText text;
  LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "pvsched");
  std::unique_ptr<ProgramSet> set(new ProgramSet());
  set->generation_ = self.generation;
  set->object_ = bpf_object__open_file(path_of(object).c_str(), &options);
  if (!set->object_) return Error::system("cannot open the linked policies (" + text.tail(2) + ")");
  for (std::size_t i = 0; i < sources.size(); ++i)
    bpf_program__set_autoload(bpf_object__find_program_by_name(set->object_, kSources[i].name), sources[i].available);
  bpf_map* map;
  bpf_object__for_each_map(map, set->object_) {
    const char* name = bpf_map__name(map);
    if (std::strcmp(name, ".rodata.pvsched") == 0) {
      if (bpf_map__set_initial_value(map, &self, sizeof(self)))
        return Error("the policy object is of another version than this program");
    } else if (shared && !std::strstr(name, ".rodata")) {
      if (int err = bpf_map__reuse_fd(map, shared->map(name)); err)
        return Error::system(std::string("cannot share map ") + name, -err);
    }
  }
  // A classifier may not call the scheduler's functions; where there are none the program is one on any kernel.
  set->control_is_syscall_ = libbpf_find_vmlinux_btf_id("scx_bpf_kick_cpu", BPF_TRACE_FENTRY) > 0;
  if (set->control_is_syscall_) {
    bpf_program* control = bpf_object__find_program_by_name(set->object_, "control");
    bpf_program__set_type(control, BPF_PROG_TYPE_SYSCALL);
    bpf_program__set_flags(control, kSleepable);
  }
  if (int err = bpf_object__load(set->object_); err) {
    const std::string verdict = text.verdict();
    return Error(
        "the kernel refused it: " + (verdict.empty() ? std::strerror(-err) : verdict) + " (" + text.tail(4) + ")",
        -err);
  }
  return set;
}

ProgramSet::~ProgramSet() {
  detach();
  bpf_object__close(object_);
}

int ProgramSet::map(const char* name) const { return bpf_object__find_map_fd_by_name(object_, name); }

std::size_t ProgramSet::value_size(const char* name) const {
  bpf_map* map = bpf_object__find_map_by_name(object_, name);
  return map ? bpf_map__value_size(map) : 0;
}

Result<unsigned> ProgramSet::run_control() {
  std::array<std::uint8_t, 64> packet{};
  LIBBPF_OPTS(bpf_test_run_opts, run);
  if (!control_is_syscall_) {
    run.data_in = packet.data();
    run.data_size_in = packet.size();
    run.repeat = 1;
  }
  int err = bpf_prog_test_run_opts(bpf_program__fd(bpf_object__find_program_by_name(object_, "control")), &run);
  if (err) return Error::system("cannot run the policy's control program", -err);
  return run.retval;
}

Status ProgramSet::attach(const std::vector<SourceInfo>& sources) {
  LibbpfText text;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (!sources[i].available) continue;
    bpf_link* link = bpf_program__attach(bpf_object__find_program_by_name(object_, kSources[i].name));
    if (!link) {
      Error error = Error::system("cannot attach to " + sources[i].name + " (" + text.tail(2) + ")");
      detach();
      return error;
    }
    links_.push_back(link);
  }
  return {};
}

void ProgramSet::detach() {
  for (bpf_link* link : links_) bpf_link__destroy(link);
  links_.clear();
}

}  // namespace pvsched
