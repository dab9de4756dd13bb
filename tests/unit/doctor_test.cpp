// SPDX-License-Identifier: GPL-2.0-or-later
// The doctor's checks on fixture trees, and the tables of `pvschedctl status`.
#include "ctl/doctor.h"

#include <sys/stat.h>

#include "ctl/status_view.h"
#include "fake_qemu.h"

// Last: it redefines new.
#include <CppUTest/TestHarness.h>

using namespace pvsched;

TEST_GROUP(Doctor) {
  TempDir* dir = nullptr;
  DoctorEnv* env = nullptr;

  void setup() override {
    dir = new TempDir;
    env = new DoctorEnv;
    env->root = dir->path();
    env->kernel_release = "6.1.0-13-amd64";
    env->plugin = "/usr/lib/pvsched.so";
    env->try_bpf = [] { return 0; };
    env->qemu_version = [] {
      return Result<std::string>(std::string("QEMU emulator version 7.2.22 (Debian 1:7.2)\n"));
    };
    env->daemon = []() -> Result<Json> { return Error("no daemon", ENOTCONN); };
    env->libvirt = [] { return Status(); };
  }
  void teardown() override {
    delete env;
    delete dir;
  }
  void put(const std::string& path, const std::string& text) const {
    const std::filesystem::path full = dir->path() + path;
    std::filesystem::create_directories(full.parent_path());
    std::ofstream(full) << text;
  }
  static void expect(Verdict verdict, const Finding& finding) {
    STRCMP_EQUAL_TEXT(verdict_name(verdict), verdict_name(finding.verdict), finding.text.c_str());
    if (verdict == Verdict::kBad) CHECK_FALSE(finding.mend.empty());
  }
};

TEST(Doctor, kernel) {
  expect(Verdict::kOk, check_kernel(*env));
  for (const char* good : {"5.15.0", "6.18.44-x", "10.0"}) {
    env->kernel_release = good;
    expect(Verdict::kOk, check_kernel(*env));
  }
  for (const char* old : {"5.14.9", "4.19.0"}) {
    env->kernel_release = old;
    expect(Verdict::kBad, check_kernel(*env));
  }
  env->kernel_release = "?";
  expect(Verdict::kSkipped, check_kernel(*env));
}

TEST(Doctor, btf_and_bpf) {
  expect(Verdict::kBad, check_btf(*env));
  put("/sys/kernel/btf/vmlinux", "x");
  expect(Verdict::kOk, check_btf(*env));
  expect(Verdict::kOk, check_bpf(*env));
  env->try_bpf = [] { return EPERM; };
  expect(Verdict::kBad, check_bpf(*env));
}

TEST(Doctor, real_time_limits_and_groups) {
  expect(Verdict::kSkipped, check_rt_limit(*env));
  put("/proc/sys/kernel/sched_rt_runtime_us", "950000\n");
  expect(Verdict::kOk, check_rt_limit(*env));
  put("/proc/sys/kernel/sched_rt_runtime_us", "-1\n");
  expect(Verdict::kWarning, check_rt_limit(*env));
  put("/proc/sys/kernel/sched_rt_runtime_us", "0\n");
  expect(Verdict::kBad, check_rt_limit(*env));

  expect(Verdict::kOk, check_rt_groups(*env));
  put("/sys/fs/cgroup/cpu/cpu.rt_runtime_us", "950000\n");
  expect(Verdict::kWarning, check_rt_groups(*env));
  put("/sys/fs/cgroup/cpu/machine/cpu.rt_runtime_us", "0\n");
  expect(Verdict::kWarning, check_rt_groups(*env));
  put("/sys/fs/cgroup/cpu/machine/cpu.rt_runtime_us", "400000\n");
  expect(Verdict::kOk, check_rt_groups(*env));
}

TEST(Doctor, capabilities_of_the_daemon_or_of_the_shell) {
  expect(Verdict::kSkipped, check_capabilities(*env, std::nullopt));
  put("/proc/self/status", "Name:\tx\nCapEff:\t000001ffffffffff\n");
  expect(Verdict::kOk, check_capabilities(*env, std::nullopt));
  put("/proc/77/status", "Name:\tx\nCapEff:\t0000000000800002\n");
  const auto finding = check_capabilities(*env, Json({{"pid", 77}}));
  expect(Verdict::kBad, finding);
  STRCMP_EQUAL("pvschedd lacks CAP_SYS_ADMIN, CAP_BPF, CAP_PERFMON", finding.text.c_str());
}

TEST(Doctor, hook_presence_mode_and_age) {
  expect(Verdict::kBad, check_hook(*env));
  put("/etc/libvirt/hooks/qemu.d/50-pvsched", "#!/bin/sh\n");
  const std::string path = dir->path() + "/etc/libvirt/hooks/qemu.d/50-pvsched";
  CHECK_EQUAL(0, ::chmod(path.c_str(), 0644));
  expect(Verdict::kBad, check_hook(*env));
  CHECK_EQUAL(0, ::chmod(path.c_str(), 0755));
  expect(Verdict::kOk, check_hook(*env));
  // libvirtd was started at the machine's boot, long ago.
  FakeQemu proc(dir->path());
  proc.add_thread(12, 12, 100);
  put("/proc/12/comm", "libvirtd\n");
  put("/proc/stat", "cpu 1\nbtime 1000000\n");
  const auto finding = check_hook(*env);
  expect(Verdict::kWarning, finding);
  STRCMP_EQUAL("kill -HUP $(pidof libvirtd)", finding.mend.c_str());
  put("/proc/stat", "cpu 1\nbtime 9000000000\n");
  expect(Verdict::kOk, check_hook(*env));
}

TEST(Doctor, plugin_for_this_qemu) {
  expect(Verdict::kWarning, check_plugin(*env));
  put(env->plugin, "ELF");
  expect(Verdict::kSkipped, check_plugin(*env));
  put(env->plugin, std::string("ELF\0pvsched-for-qemu=7.2.22 (1:7.2)\0rest", 40));
  expect(Verdict::kOk, check_plugin(*env));
  put(env->plugin, std::string("ELF\0pvsched-for-qemu=8.0.0\0rest", 31));
  expect(Verdict::kBad, check_plugin(*env));
}

TEST(Doctor, apparmor) {
  expect(Verdict::kOk, check_apparmor(*env));
  put("/sys/module/apparmor/parameters/enabled", "Y\n");
  expect(Verdict::kWarning, check_apparmor(*env));
  put("/etc/apparmor.d/local/abstractions/libvirt-qemu", "/run/pvsched/qmp/*.sock rw,\n");
  expect(Verdict::kOk, check_apparmor(*env));
}

TEST(Doctor, sources_and_the_whole_examination) {
  expect(Verdict::kSkipped, check_sources(std::nullopt));
  const Json one = {{"name", "sched_switch"}, {"available", true}, {"reason", ""}};
  const Json none = {{"name", "kvm_exit"}, {"available", false}, {"reason", "never fires"}};
  expect(Verdict::kOk, check_sources(Json({{"sources", Json::array({one, none})}})));
  expect(Verdict::kBad, check_sources(Json({{"sources", Json::array({none})}})));
  const auto findings = examine(*env);
  CHECK_EQUAL(13, static_cast<int>(findings.size()));
}

TEST_GROUP(StatusView){};

TEST(StatusView, columns_are_as_wide_as_needed) {
  STRCMP_EQUAL(" a    b\n ccc  d\n", show_table({{"a", "b"}, {"ccc", "d"}}, " ").c_str());
}

TEST(StatusView, odd_or_missing_members_do_no_harm) {
  CHECK(show_status(Json::object()).find("No VM is served.") != std::string::npos);
  const std::string text = show_status({{"vms", Json::array({Json::object(), 7})}});
  CHECK(text.find("VM -") != std::string::npos);
}
