// SPDX-License-Identifier: GPL-2.0-or-later
#include "sched/scx.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/libbpf_text.h"
#include "scx/scx.h"

namespace pvsched {
namespace {

namespace fs = std::filesystem;

// Of the kernel's interface, newer than Debian 12's headers.
constexpr std::uint32_t kMapIsLinked = 1U << 13;  // BPF_F_LINK
constexpr auto kStructOps = static_cast<bpf_attach_type>(44);  // BPF_STRUCT_OPS
constexpr std::uint32_t kSleepable = 1U << 4;  // BPF_F_SLEEPABLE

// The kernel's watchdog ends a scheduler under which a task waits for 10 s (the scheduler's timeout_ms).
constexpr std::uint64_t kLongestWaitNs = 4000000000;

// As long as the kernel's own scheduler lets a task run on so many CPUs (base_slice_ns): 0.7 to 2.8 ms.
std::uint64_t slice_ns(unsigned cpus) { return 700000 * std::bit_width(std::min(cpus, 8U)); }

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The CPUs that share the largest cache with `cpu`, as the kernel lists them; empty if it does not say.
std::string cache_peers(const std::string& sys, unsigned cpu) {
  const fs::path folder = fs::path(sys) / "devices/system/cpu" / ("cpu" + std::to_string(cpu)) / "cache";
  std::string peers;
  int highest = 0;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder, none)) {
    int level = std::atoi(first_line(entry.path() / "level").c_str());
    if (level <= highest) continue;
    highest = level;
    peers = first_line(entry.path() / "shared_cpu_list");
  }
  return peers;
}

Result<pvs_scx_host> host_of(const ScxOptions& options) {
  int cpus = libbpf_num_possible_cpus();
  if (cpus < 1) return Error("cannot tell the number of CPUs");
  if (cpus > PVS_SCX_CPUS)
    return Error("the scheduler serves at most " + std::to_string(PVS_SCX_CPUS) + " CPUs, this host has " +
                 std::to_string(cpus));
  pvs_scx_host host{};
  host.slice_ns = options.slice_ns ? options.slice_ns : slice_ns(cpus);
  timespec tick{};
  clock_getres(CLOCK_MONOTONIC_COARSE, &tick);
  host.longest_wait = kLongestWaitNs / std::max<std::uint64_t>(1, tick.tv_nsec);
  host.cpus = cpus;
  std::map<std::string, unsigned> caches;
  for (unsigned cpu = 0; cpu < host.cpus; ++cpu) {
    std::string peers = cache_peers(options.sys, cpu);
    if (peers.empty()) continue;  // offline, or the kernel does not know: the first
    auto llc = caches.emplace(peers, caches.size()).first->second;
    host.llc_of[cpu] = llc % PVS_SCX_LLCS;
  }
  host.llcs = std::clamp<std::size_t>(caches.size(), 1, PVS_SCX_LLCS);
  return host;
}

}  // namespace

std::string scx_kernel_state(const std::string& sys) { return first_line(fs::path(sys) / "kernel/sched_ext/state"); }

std::string scx_kernel_ops(const std::string& sys) { return first_line(fs::path(sys) / "kernel/sched_ext/root/ops"); }

Result<std::unique_ptr<Scx>> Scx::load(const ScxOptions& options, const std::map<std::string, int>& maps) {
  if (scx_kernel_state(options.sys).empty()) return Error("this kernel has no sched_ext", ENOSYS);
  std::unique_ptr<Scx> scx(new Scx(options.sys));
  if (auto status = scx->open(options, maps); !status) return status.error();
  return scx;
}

Status Scx::open(const ScxOptions& options, const std::map<std::string, int>& maps) {
  auto host = host_of(options);
  if (!host) return host.error();
  LibbpfText text;
  // The name of the policy's object: map .bss has it in its name.
  LIBBPF_OPTS(bpf_object_open_opts, open_options, .object_name = "pvsched");
  object_ = bpf_object__open_file(options.object.c_str(), &open_options);
  if (!object_) return Error::system("cannot open " + options.object + " (" + text.tail(2) + ")");
  bpf_map* map;
  bpf_object__for_each_map(map, object_) {
    const char* name = bpf_map__name(map);
    auto shared = maps.find(name);
    if (std::strcmp(name, ".rodata.scx") == 0) {
      if (bpf_map__set_initial_value(map, &*host, sizeof(*host)))
        return Error("the scheduler's object is of another version than this program");
    } else if (shared != maps.end()) {
      if (int err = bpf_map__reuse_fd(map, shared->second); err)
        return Error::system(std::string("cannot share map ") + name, -err);
    }
  }
  ops_ = bpf_object__find_map_by_name(object_, PVS_SCX_NAME);
  bpf_program* init = bpf_object__find_program_by_name(object_, "pvs_init");
  if (!ops_ || !init) return Error(options.object + " is not the scheduler");
  bpf_program__set_flags(init, kSleepable);
  bpf_map__set_map_flags(ops_, kMapIsLinked);
  if (int err = bpf_object__load(object_); err)
    return Error::system("the kernel refused the scheduler (" + text.tail(6) + ")", -err);
  return {};
}

// A map of functions is handed over once, and is in force while there is a link to it. libbpf before 1.2 does the first
// only; later ones do both, but the first time only: so the link is made here.
Status Scx::start() {
  LibbpfText text;
  const std::string other = scx_kernel_state(sys_);
  if (other != "disabled") {
    const std::string ops = scx_kernel_ops(sys_);
    return Error("another sched_ext scheduler is loaded (" + (ops.empty() ? other : ops) + ") and is left alone",
                 EBUSY);
  }
  const pvs_scx_report none{};
  const std::uint32_t zero = 0;
  bpf_map_update_elem(map("scx_report"), &zero, &none, BPF_ANY);
  if (!registered_) {
    bpf_link* link = bpf_map__attach_struct_ops(ops_);
    if (!link) return Error::system("the kernel did not take the scheduler's functions (" + text.tail(2) + ")");
    if (libbpf_major_version() > 1 || libbpf_minor_version() >= 2) link_.reset(bpf_link__fd(link));
    bpf_link__disconnect(link);  // leaves the descriptor open
    bpf_link__destroy(link);
    registered_ = true;
  }
  if (!link_) link_.reset(bpf_link_create(bpf_map__fd(ops_), 0, kStructOps, nullptr));
  if (link_) return {};
  const int err = errno;
  const std::string reason = state().reason;
  return Error::system("the kernel did not take the scheduler" + (reason.empty() ? reason : " (" + reason + ")"), err);
}

void Scx::stop() { link_.reset(); }

Scx::~Scx() {
  stop();
  bpf_object__close(object_);
}

int Scx::map(const char* name) const { return bpf_object__find_map_fd_by_name(object_, name); }

ScxState Scx::state() const {
  pvs_scx_report report{};
  const std::uint32_t zero = 0;
  if (bpf_map_lookup_elem(map("scx_report"), &zero, &report)) return {false, "its report cannot be read"};
  if (report.attached && !report.kind) return {true, {}};
  if (!report.kind) return {};
  std::string reason = report.reason;
  if (report.message[0]) reason += std::string(": ") + report.message;
  return {false, reason};
}

}  // namespace pvsched
