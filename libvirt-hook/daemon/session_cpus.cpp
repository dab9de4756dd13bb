// SPDX-License-Identifier: GPL-2.0-or-later
// Session: which threads are the VM's vCPUs.
#include <set>

#include "daemon/session.h"

namespace pvsched {
namespace {

// QEMU's list is not trusted: an odd entry makes the whole list unusable.
Result<std::vector<ReportedCpu>> read_cpus(const Json& list) {
  if (!list.is_array() || list.empty()) return Error("query-cpus-fast lists no vCPUs", EPROTO);
  std::vector<ReportedCpu> cpus;
  std::set<std::int64_t> seen;
  for (const auto& entry : list) {
    const auto index = int_member(entry, "cpu-index");
    const auto tid = int_member(entry, "thread-id");
    const auto path = string_member(entry, "qom-path");
    if (!index || *index < 0 || *index >= PVSCHED_MAX_SLOTS || !tid || *tid <= 0 || *tid > INT32_MAX || !path)
      return Error("query-cpus-fast has an entry that cannot be used: " + printable(dump_json(entry), 120), EPROTO);
    if (!seen.insert(*index).second)
      return Error("query-cpus-fast lists vCPU " + std::to_string(*index) + " twice", EPROTO);
    cpus.push_back({static_cast<unsigned>(*index), static_cast<pid_t>(*tid), *path});
  }
  return cpus;
}

std::optional<pid_t> read_pid_file(const std::string& path) {
  auto text = read_file(path, 32);
  if (!text) return std::nullopt;
  const long pid = std::strtol(text->c_str(), nullptr, 10);
  if (pid <= 0) return std::nullopt;
  return static_cast<pid_t>(pid);
}

}  // namespace

Task<Status> Session::update_cpus() {
  Result<Json> reply = co_await ask("query-cpus-fast", Json());
  if (!reply) co_return reply.error();
  auto cpus = read_cpus(*reply);
  if (!cpus) co_return cpus.error();

  // Every thread must belong to one process, and to the one that is this VM's.
  std::map<unsigned, ThreadInfo> infos;
  for (const auto& cpu : *cpus) {
    auto info = thread_info(env_.proc, cpu.tid);
    if (!info) co_return info.error().in("vCPU " + std::to_string(cpu.index));
    infos.emplace(cpu.index, *info);
  }
  const pid_t pid = infos.begin()->second.tgid;
  for (const auto& [index, info] : infos)
    if (info.tgid != pid) co_return Error("QEMU names vCPU threads of several processes", EPERM);
  if (pid_ != 0 && pid_ != pid) forget_process();
  if (pid_ == 0)
    if (auto adopted = adopt_process(pid); !adopted) co_return adopted;

  std::set<unsigned> present;
  for (const auto& cpu : *cpus) present.insert(cpu.index);
  for (auto it = vcpus_.begin(); it != vcpus_.end();) {
    const unsigned id = it->first;
    ++it;
    if (!present.contains(id)) {
      remove_cpu(id);
      say(LogLevel::kInfo, "vCPU " + std::to_string(id) + " was unplugged");
    }
  }
  for (const auto& cpu : *cpus) {
    const ThreadInfo info = infos.at(cpu.index);
    auto known = vcpus_.find(cpu.index);
    if (known != vcpus_.end() &&
        (known->second.spec.tid != cpu.tid || known->second.spec.start_time != info.start_time)) {
      remove_cpu(cpu.index);
      known = vcpus_.end();
    }
    if (known != vcpus_.end() && known->second.registered == wanted(cpu.index)) continue;
    Status added = co_await add_cpu(cpu, info);
    if (!added) co_return added;
  }
  report_rt_mode();
  co_return Status();
}

// The first sight of the QEMU process.
Status Session::adopt_process(pid_t pid) {
  std::optional<pid_t> expected;
  std::string source = "its QMP socket";
  if (!target_.standalone && target_.name.find('/') == std::string::npos) {
    expected = read_pid_file(env_.libvirt_run + "/" + target_.name + ".pid");
    if (expected) source = "libvirt's pid file";
  }
  // Whoever answers on the socket gets the VM's areas: it must be the VM, not another QEMU that took its place.
  if (qmp_->peer() > 0 && (!expected || qmp_->peer() != pid)) {
    expected = qmp_->peer();
    source = "its QMP socket";
  }
  if (expected && *expected != pid)
    return Error("QEMU names vCPU threads of process " + std::to_string(pid) + ", but by " + source +
                     " it is process " + std::to_string(*expected),
                 EPERM);
  if (auto claimed = env_.claim(target_.key, pid); !claimed) return claimed;

  auto pidfd = env_.open_pidfd(pid);
  if (!pidfd) return pidfd.error();
  // The descriptor is that process's only if the number still names it now.
  auto again = thread_info(env_.proc, pid);
  if (!again || again->tgid != pid) return Error("QEMU process " + std::to_string(pid) + " has ended", ESRCH);
  auto vm = env_.engine->add_vm(pid, limits(), policy());
  if (!vm) return vm.error();
  vm_ = *vm;
  pid_ = pid;
  pidfd_ = pidfd.take();
  pidfd_source_ = Source::on_fd(pidfd_.get(), G_IO_IN, [this](GIOCondition) {
    ended_ = true;
    env_.ended(target_.key);
    return false;
  });
  return {};
}

Task<Status> Session::add_cpu(ReportedCpu cpu, ThreadInfo info) {
  if (!vcpus_.contains(cpu.index)) {
    Result<Json> apic = co_await get(cpu.path, "apic-id");
    if (!apic && apic.error().code() != kQmpRefused) co_return apic.error();
    // No property of that name on other architectures: the index serves there.
    std::uint32_t apic_id = cpu.index;
    if (apic && apic->is_number_integer() && apic->get<std::uint64_t>() <= UINT32_MAX)
      apic_id = apic->get<std::uint32_t>();
    auto still = thread_info(env_.proc, cpu.tid);
    if (!still || still->tgid != info.tgid || still->start_time != info.start_time)
      co_return Error("vCPU " + std::to_string(cpu.index) + " went while it was looked at", ESRCH);
    Vcpu fresh;
    fresh.spec = {cpu.index, cpu.tid, info.start_time, apic_id, 0};
    fresh.path = cpu.path;
    vcpus_[cpu.index] = std::move(fresh);
    if (reported_open_) say(LogLevel::kInfo, "vCPU " + std::to_string(cpu.index) + " was plugged");
  }
  Vcpu& vcpu = vcpus_[cpu.index];
  if (!wanted(cpu.index)) co_return Status();
  std::tie(vcpu.spec.tag, vcpu.tag_origin) = tag_of(vcpu);
  auto added = env_.engine->add_vcpu(*vm_, vcpu.spec);
  vcpu.registered = static_cast<bool>(added);
  const std::string refusal = added ? "" : added.error().text();
  if (!refusal.empty() && refusal != vcpu.refusal)
    say(LogLevel::kWarning, "vCPU " + std::to_string(cpu.index) + " stays as it is: " + refusal);
  vcpu.refusal = refusal;
  co_return Status();
}

void Session::remove_cpu(unsigned id) {
  auto it = vcpus_.find(id);
  if (it == vcpus_.end()) return;
  if (it->second.registered) env_.engine->remove_vcpu(*vm_, id);
  vcpus_.erase(it);
}

void Session::report_rt_mode() {
  auto status = env_.engine->status(*vm_);
  if (!status) return;
  std::string text;
  switch (status->rt_mode) {
    case RtMode::kRealtime:
      break;
    case RtMode::kFunded:
      text = "real-time boosts by funding its cgroups: " + status->rt_reason;
      break;
    case RtMode::kFair:
      text = "fair boosts instead of real-time ones: " + status->rt_reason;
      break;
  }
  if (text.empty() || text == rt_said_) return;
  rt_said_ = text;
  say(status->rt_mode == RtMode::kFair ? LogLevel::kWarning : LogLevel::kInfo, text);
}

}  // namespace pvsched
