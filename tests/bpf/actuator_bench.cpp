// SPDX-License-Identifier: GPL-2.0-or-later
// What carries decisions out, in one interleaved run: setattr, scx, scx, setattr, ... A thread plays a vCPU beside a
// hog; its guest is always urgent, with budgets so short that it is raised and lowered a thousand times a second.
//
//   actuator_bench pvsched.bpf.o POLICIES pvsched-guardian [ROUNDS [MS]]
//
// One line of JSON for each segment; microseconds. Exit status 77: this kernel has no sched_ext.
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "common/clock.h"
#include "common/histogram.h"
#include "metadata/domain_config.h"
#include "pvsched/abi.h"
#include "sched/baselines.h"
#include "sched/engine.h"

using namespace pvsched;

namespace {

pid_t spin() {
  const pid_t pid = fork();
  if (pid) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  cpu_set_t last;
  CPU_ZERO(&last);
  CPU_SET(sysconf(_SC_NPROCESSORS_ONLN) - 1, &last);
  sched_setaffinity(0, sizeof(last), &last);
  for (;;) __builtin_ia32_pause();
}

using Buckets = __u64[PVS_HIST_BUCKETS];

// What one histogram has more than an earlier state of it.
void subtract(Buckets& of, const Buckets& before) {
  for (int i = 0; i < PVS_HIST_BUCKETS; ++i) of[i] -= before[i];
}

std::string percentiles(const char* name, const Buckets& of) {
  std::string out = ", \"" + std::string(name) + "_count\": " + std::to_string(histogram_count(of));
  for (auto [label, share] : {std::pair("p50", 0.50), std::pair("p99", 0.99)}) {
    const auto value = histogram_percentile(of, share);
    out += ", \"" + std::string(name) + "_" + label + "\": " + (value ? std::to_string(*value / 1000) : "null");
  }
  return out;
}

void segment(Engine& engine, VmId vm, const char* actuator, int round, unsigned ms) {
  pvs_stats before = engine.status(vm)->vcpus[0].stats;
  usleep(ms * 1000);  // the length of the measurement
  pvs_stats after = engine.status(vm)->vcpus[0].stats;
  subtract(after.event_to_applied, before.event_to_applied);
  subtract(after.raise_to_run, before.raise_to_run);
  std::printf("{\"round\": %d, \"actuator\": \"%s\", \"decisions\": %llu, \"setattr_calls\": %llu%s%s}\n", round,
              actuator, after.decisions - before.decisions, after.applies - before.applies,
              percentiles("effect", after.event_to_applied).c_str(), percentiles("run", after.raise_to_run).c_str());
}

// Returns an error's sentence, or nothing.
std::string measure(Engine& engine, int rounds, unsigned ms) {
  const pid_t vcpu = spin(), hog = spin();
  std::string fault;
  pvs_limits limits = default_limits();
  limits.critical_ns = limits.throttle_ns = 300000;
  auto vm = engine.add_vm(vcpu, limits, kDefaultPolicy);
  VcpuSpec spec;
  spec.tid = vcpu;
  spec.start_time = start_time("/proc", vcpu);
  if (!vm) fault = vm.error().text();
  if (auto status = vm ? engine.add_vcpu(*vm, spec) : Status(); !status) fault = status.error().text();
  auto areas = engine.create_areas(*vm, 1);
  if (!areas) fault = areas.error().text();
  if (fault.empty()) {
    auto* intent = static_cast<std::uint64_t*>(
        mmap(nullptr, PVSCHED_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, areas->guest.get(), 0));
    *intent = static_cast<std::uint64_t>(PVSCHED_INTENT_VALID) << PVSCHED_INTENT_FLAGS_SHIFT |
              static_cast<std::uint64_t>(PVSCHED_CRITICAL_HARDIRQ) << PVSCHED_INTENT_CRITICAL_SHIFT;
    for (int round = 1; round <= rounds && fault.empty(); ++round)
      for (const char* actuator : {round % 2 ? kSetattr : kScx, round % 2 ? kScx : kSetattr}) {
        if (auto status = engine.choose_actuator(actuator); !status) {
          fault = status.error().text();
          break;
        }
        usleep(100000);  // two turns of the actuator: attributes have followed
        segment(engine, *vm, actuator, round, ms);
        if (engine.actuator().name != actuator) fault = engine.actuator().reason;
      }
    munmap(intent, PVSCHED_PAGE_SIZE);
  }
  if (vm) engine.remove_vm(*vm);
  for (pid_t pid : {vcpu, hog}) kill(pid, SIGKILL);
  return fault;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return std::fputs("usage: actuator_bench pvsched.bpf.o POLICIES GUARDIAN [ROUNDS [MS]]\n", stderr), 2;
  setvbuf(stdout, nullptr, _IOLBF, 0);
  if (access("/sys/kernel/sched_ext", F_OK) != 0) return std::puts("SKIP: this kernel has no sched_ext"), 77;
  char dir[] = "/tmp/pvsched-actuator-bench.XXXXXX";
  if (!mkdtemp(dir)) return 2;
  EngineOptions options;
  options.bpf_object = argv[1];
  options.scheduler = options.bpf_object.substr(0, options.bpf_object.rfind('/')) + "/scheduler.bpf.o";
  options.policies = {argv[2]};
  options.guardian = argv[3];
  options.run_dir = dir;
  std::string fault;
  {
    auto engine = Engine::create(options);
    if (!engine) return std::printf("%s\n", engine.error().text().c_str()), 1;
    const int rounds = argc > 4 ? std::atoi(argv[4]) : 5;
    const unsigned ms = argc > 5 ? static_cast<unsigned>(std::atoi(argv[5])) : 1000;
    fault = measure(**engine, rounds, ms);
  }
  rmdir(dir);
  if (!fault.empty()) std::printf("%s\n", fault.c_str());
  return fault.empty() ? 0 : 1;
}
