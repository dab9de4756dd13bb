// SPDX-License-Identifier: GPL-2.0-or-later
// The scheduler alone, without a policy, for the lab:
//
//   scx_run OBJECT [--slice US] run COMMAND...       runs a command with the scheduler in force
//   scx_run OBJECT [--slice US] vcpu [RAISE_OBJECT]  a thread plays the vCPU among hogs: its delays, plain and boosted
//
// Exit status 77: this kernel cannot; 1: the kernel has ended the scheduler.
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "maps.h"
#include "sched/scx.h"

using pvsched::Scx;

namespace {

constexpr int kSamples = 100;

struct Shared {
  std::atomic<bool> go;
  std::uint64_t delays[kSamples];
};

std::uint64_t now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000ull + time.tv_nsec;
}

// Sleeps for 2 ms at a time; a delay is how much later than that it runs.
void sleeper(Shared& shared) {
  for (auto& delay : shared.delays) {
    timespec time{0, 2000000};
    std::uint64_t begin = now();
    nanosleep(&time, nullptr);
    delay = now() - begin - 2000000;
  }
}

// Never sleeps; a delay is the longest time that it was off the CPU within 2 ms.
void spinner(Shared& shared) {
  std::uint64_t last = now();
  for (auto& delay : shared.delays) {
    delay = 0;
    for (std::uint64_t end = last + 2000000; last < end;) {
      std::uint64_t time = now();
      delay = std::max(delay, time - last);
      last = time;
    }
  }
}

template <typename F>
pid_t child(F work) {
  pid_t pid = fork();
  if (pid) return pid;
  work();
  _exit(0);
}

void end(pid_t pid) {
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
}

// Four hogs and a thread that plays the vCPU.
class VcpuTest {
 public:
  VcpuTest() {
    shared_ =
        static_cast<Shared*>(mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  }
  // From now on the thread is a vCPU of the scheduler's.
  bool use(const Scx& scx) {
    scx_ = &scx;
    boxes_ = static_cast<pvs_mailbox*>(mmap(nullptr, sizeof(pvs_mailbox) * PVS_MAX_VCPUS, PROT_READ | PROT_WRITE,
                                            MAP_SHARED, scx.map("mailboxes"), 0));
    globals_ = static_cast<pvs_globals*>(
        mmap(nullptr, sizeof(pvs_globals), PROT_READ | PROT_WRITE, MAP_SHARED, scx.map("pvsched.bss"), 0));
    return boxes_ != MAP_FAILED && globals_ != MAP_FAILED;
  }

  void measure(const char* name, std::uint32_t decision, void (*work)(Shared&)) {
    std::vector<pid_t> hogs;
    for (int i = 0; i < 4; ++i)
      hogs.push_back(child([] {
        for (;;) __builtin_ia32_pause();
      }));
    if (scx_) boxes_[0].decision = decision;
    shared_->go = false;
    pid_t pid = child([&] {
      const sched_param param{50};
      if (decision && !scx_) sched_setscheduler(0, SCHED_FIFO, &param);
      while (!shared_->go) usleep(1000);
      work(*shared_);
    });
    pvs_vcpu vcpu{};
    const auto tid = static_cast<std::uint32_t>(pid);
    if (scx_) {
      bpf_map_update_elem(scx_->map("vcpus"), &tid, &vcpu, BPF_ANY);
      globals_->filter[(tid >> 6) & (PVS_FILTER_WORDS - 1)] |= 1ull << (tid & 63);
    }
    shared_->go = true;
    waitpid(pid, nullptr, 0);
    for (pid_t hog : hogs) end(hog);
    if (scx_) bpf_map_delete_elem(scx_->map("vcpus"), &tid);
    std::sort(shared_->delays, shared_->delays + kSamples);
    std::printf("%-24s delay us: p50 %6.0f  p90 %6.0f  p99 %6.0f  max %6.0f\n", name, us(50), us(90), us(99), us(100));
  }

 private:
  double us(int percent) const { return shared_->delays[std::min(kSamples * percent / 100, kSamples - 1)] / 1e3; }

  const Scx* scx_ = nullptr;
  Shared* shared_;
  pvs_mailbox* boxes_ = nullptr;
  pvs_globals* globals_ = nullptr;
};

int run(char** command) {
  pid_t pid = child([&] {
    execvp(command[0], command);
    _exit(127);
  });
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

const std::uint32_t kBoost = pvs_decision(PVSCHED_CLASS_CRITICAL, PVSCHED_SCHED_FIFO, 0, 60);

int vcpu(VcpuTest& test, const Scx& scx, const char* raise) {
  if (!test.use(scx)) return std::puts("the maps cannot be mapped"), 1;
  test.measure("sleeper, plain", 0, sleeper);
  test.measure("sleeper, boosted", kBoost, sleeper);
  test.measure("spinner, plain", 0, spinner);
  test.measure("spinner, boosted", kBoost, spinner);
  if (!raise) return 0;
  LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "pvsched");
  bpf_object* object = bpf_object__open_file(raise, &options);
  if (!object) return 1;
  bpf_map* map;
  bpf_object__for_each_map(map, object) bpf_map__reuse_fd(map, scx.map(bpf_map__name(map)));
  int status = 1;
  if (!bpf_object__load(object)) {
    bpf_link* link = bpf_program__attach(bpf_object__find_program_by_name(object, "scx_raise"));
    bpf_link* lower = bpf_program__attach(bpf_object__find_program_by_name(object, "scx_lower"));
    if (link && lower) {
      test.measure("sleeper, raised waiting", 0, sleeper);
      test.measure("spinner, raised waiting", 0, spinner);
      status = 0;
    }
    bpf_link__destroy(link);
    bpf_link__destroy(lower);
  }
  bpf_object__close(object);
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  pvsched::ScxOptions options;
  int at = 2;
  if (argc > 1) options.object = argv[1];
  if (argc > at + 1 && std::strcmp(argv[at], "--slice") == 0) {
    options.slice_ns = std::strtoull(argv[at + 1], nullptr, 10) * 1000;
    at += 2;
  }
  if (argc <= at) return std::fputs("usage: scx_run OBJECT [--slice US] {run COMMAND... | vcpu [OBJECT]}\n", stderr), 2;
  const std::string mode = argv[at];
  VcpuTest test;
  if (mode == "vcpu") {
    test.measure("sleeper, kernel's", 0, sleeper);
    test.measure("sleeper, FIFO", kBoost, sleeper);
    test.measure("spinner, kernel's", 0, spinner);
    test.measure("spinner, FIFO", kBoost, spinner);
  }
  auto scx = Scx::load(options, {});
  auto started = scx ? (*scx)->start() : pvsched::Status(scx.error());
  if (!started) {
    std::printf("scx: %s\n", started.error().text().c_str());
    return started.error().code() == ENOSYS ? 77 : 1;
  }
  std::printf("scx: kernel says %s, %s\n", pvsched::scx_kernel_state(options.sys).c_str(),
              pvsched::scx_kernel_ops(options.sys).c_str());
  int status = mode == "run" && argc > at + 1 ? run(argv + at + 1)
               : mode == "vcpu"               ? vcpu(test, **scx, argc > at + 1 ? argv[at + 1] : nullptr)
                                              : 2;
  auto state = (*scx)->state();
  std::printf("scx: %s%s\n", state.attached ? "in force to the end" : "ended by the kernel: ", state.reason.c_str());
  return state.attached ? status : 1;
}
