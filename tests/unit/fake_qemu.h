// SPDX-License-Identifier: GPL-2.0-or-later
// FakeQemu: a QEMU as seen over QMP, with a /proc tree of its threads. Tests change it and see what a session makes
// of that.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/loop.h"
#include "qmp/qmp.h"

namespace pvsched {

class FakeQemu {
 public:
  explicit FakeQemu(const std::string& root) : root_(root) { std::filesystem::create_directories(proc()); }

  std::string proc() const { return root_ + "/proc"; }

  /// A thread of process `tgid` in the /proc tree.
  void add_thread(pid_t tid, pid_t tgid, unsigned long start) const {
    const std::string dir = proc() + "/" + std::to_string(tid);
    std::filesystem::create_directories(dir);
    std::ofstream(dir + "/status") << "Name:\tCPU 0/KVM\nUmask:\t0002\nTgid:\t" << tgid << "\nPid:\t" << tid << "\n";
    std::ofstream(dir + "/stat") << tid << " (CPU 0) KVM) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 " << start << " 0\n";
  }
  void remove_thread(pid_t tid) const { std::filesystem::remove_all(proc() + "/" + std::to_string(tid)); }

  /// A process with vCPUs 0..n-1, TIDs pid+1 and on.
  void boot(pid_t pid, unsigned n) {
    cpus.clear();
    add_thread(pid, pid, 100);
    for (unsigned i = 0; i < n; ++i) add_cpu(i, pid + 1 + static_cast<pid_t>(i), pid);
  }
  void add_cpu(unsigned index, pid_t tid, pid_t pid) {
    add_thread(tid, pid, 1000 + index);
    cpus[index] = tid;
  }

  Result<Json> answer(const std::string& command, const Json& arguments, std::size_t fds) {
    commands.push_back(command);
    if (lost) return Error("connection lost", ECONNRESET);
    if (refuse.contains(command)) return Error("QEMU refused " + command, kQmpRefused);
    const std::string path = string_member(arguments, "path").value_or("");
    const std::string property = string_member(arguments, "property").value_or("");
    if (command == "query-cpus-fast") {
      if (!cpus_reply.is_null()) return cpus_reply;
      Json list = Json::array();
      for (const auto& [index, tid] : cpus)
        list.push_back(
            {{"cpu-index", index}, {"thread-id", tid}, {"qom-path", "/machine/cpu" + std::to_string(index)}});
      return list;
    }
    if (command == "query-iothreads") {
      Json list = Json::array();
      for (const auto& [name, tid] : iothreads) list.push_back({{"id", name}, {"thread-id", tid}});
      return list;
    }
    if (command == "qom-list") {
      Json list = Json::array({Json({{"name", "type"}, {"type", "string"}})});
      if (!device.empty() && path == "/machine/peripheral")
        list.push_back({{"name", device}, {"type", "child<pvsched>"}});
      return list;
    }
    if (command == "getfd") {
      passed.insert(string_member(arguments, "fdname").value_or("") + "/" + std::to_string(fds));
      return Json::object();
    }
    const bool on_device = !device.empty() && path == "/machine/peripheral/" + device;
    if (command == "qom-get") {
      if (property == "apic-id" && path.rfind("/machine/cpu", 0) == 0 && has_apic)
        return Json(2u * static_cast<unsigned>(std::stoi(path.substr(12))));
      if (on_device && property == "type") return Json("pvsched");
      if (on_device && property == "slots") return slots;
      if (on_device && property == "transport") return Json("bar");
      if (on_device && property == "driver-status") return Json(15);
    }
    if (command == "qom-set" && on_device && !refuse.contains("qom-set " + property)) {
      properties[property] = string_member(arguments, "value").value_or("?");
      return Json::object();
    }
    return Error("QEMU refused " + command + ": no such thing", kQmpRefused);
  }

  std::map<unsigned, pid_t> cpus;
  std::map<std::string, pid_t> iothreads;
  Json cpus_reply;  ///< said instead, where not null
  std::string device;
  Json slots = 4;
  bool has_apic = true;
  bool lost = false;
  std::set<std::string> refuse;
  std::set<std::string> passed;  ///< NAME/NUMBER OF DESCRIPTORS
  std::map<std::string, std::string> properties;
  std::vector<std::string> commands;

 private:
  std::string root_;
};

/// A connection to it. Answers come from the loop.
class FakeQmp final : public Qmp {
 public:
  explicit FakeQmp(FakeQemu& qemu, pid_t peer = 0) : qemu_(qemu), peer_(peer) {}
  void execute(const std::string& command, Json arguments, std::vector<Fd> fds, Callback done) override {
    auto answer = std::make_shared<Result<Json>>(qemu_.answer(command, arguments, fds.size()));
    post([alive = std::weak_ptr<bool>(alive_), answer, done] {
      if (!alive.expired()) done(*answer);
    });
  }
  bool healthy() const override { return !qemu_.lost; }
  pid_t peer() const override { return peer_; }
  std::string transport() const override { return "fake"; }
  void event(const std::string& name, const Json& data) { on_event_(name, data); }

 private:
  FakeQemu& qemu_;
  pid_t peer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

/// A folder that goes with the test.
class TempDir {
 public:
  TempDir() {
    char name[] = "/tmp/pvsched-test-XXXXXX";
    path_ = ::mkdtemp(name);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace pvsched
