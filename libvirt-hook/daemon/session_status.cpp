// SPDX-License-Identifier: GPL-2.0-or-later
// Session: its state as JSON, the one source of what pvschedctl shows.
#include "common/histogram.h"
#include "daemon/session.h"

namespace pvsched {
namespace {

const char* state_name(SessionState state) {
  switch (state) {
    case SessionState::kOpening:
      return "opening";
    case SessionState::kActive:
      return "active";
    case SessionState::kRetrying:
      return "retrying";
  }
  return "";
}

const char* rt_mode_name(RtMode mode) {
  switch (mode) {
    case RtMode::kRealtime:
      return "realtime";
    case RtMode::kFunded:
      return "funded";
    case RtMode::kFair:
      return "fair";
  }
  return "";
}

const char* class_name(unsigned value) {
  if (value == PVSCHED_CLASS_TASK) return "task";
  if (value == PVSCHED_CLASS_CRITICAL) return "critical";
  if (value == PVSCHED_CLASS_YIELD) return "yield";
  return "baseline";
}

Json decision_json(std::uint64_t word) {
  Json out;
  out["class"] = class_name((word >> PVSCHED_STATE_CLASS_SHIFT) & 0xff);
  out["policy"] = (word >> PVSCHED_STATE_POLICY_SHIFT) & 0xff;
  out["nice"] = static_cast<int>(static_cast<std::int8_t>((word >> PVSCHED_STATE_NICE_SHIFT) & 0xff));
  out["rt_priority"] = (word >> PVSCHED_STATE_RT_SHIFT) & 0xff;
  return out;
}

Json histogram_json(const __u64 (&buckets)[PVS_HIST_BUCKETS]) {
  Json out;
  out["count"] = histogram_count(buckets);
  for (auto [name, share] : {std::pair("p50_us", 0.50), std::pair("p99_us", 0.99)}) {
    const auto value = histogram_percentile(buckets, share);
    out[name] = value ? Json(*value / 1000.0) : Json();
  }
  out["log2_ns"] = std::vector<std::uint64_t>(std::begin(buckets), std::end(buckets));
  return out;
}

Json stats_json(const pvs_stats& stats) {
  Json out;
  out["events"] = stats.events;
  out["decisions"] = stats.decisions;
  out["boosts"] = {{"task", stats.boosts[PVSCHED_CLASS_TASK]}, {"critical", stats.boosts[PVSCHED_CLASS_CRITICAL]}};
  out["boosted_ms"] = {{"task", static_cast<double>(stats.boosted_ns[PVSCHED_CLASS_TASK]) / 1e6},
                       {"critical", static_cast<double>(stats.boosted_ns[PVSCHED_CLASS_CRITICAL]) / 1e6}};
  out["run_ms"] = static_cast<double>(stats.run_ns) / 1e6;
  out["throttles"] = {{"critical", stats.critical_throttles}, {"total", stats.total_throttles}};
  out["bad_intents"] = stats.bad_intents;
  out["injections"] = stats.injections;
  out["preemptions"] = stats.preemptions;
  out["halts"] = stats.halts;
  out["cutoffs"] = stats.cutoffs;
  out["refused_wishes"] = stats.refused_wishes;
  out["applies"] = stats.applies;
  out["apply_fails"] = stats.apply_fails;
  out["foreign"] = stats.foreign;
  out["wake_to_run"] = histogram_json(stats.wake_to_run);
  out["raise_to_run"] = histogram_json(stats.raise_to_run);
  out["event_to_applied"] = histogram_json(stats.event_to_applied);
  return out;
}

Json limits_json(const pvs_limits& limits) {
  Json out;
  out["enabled"] = limits.enabled != 0;
  out["critical_us"] = static_cast<double>(limits.critical_ns) / 1e3;
  out["total_us"] = static_cast<double>(limits.total_ns) / 1e3;
  out["throttle_us"] = static_cast<double>(limits.throttle_ns) / 1e3;
  out["hold_us"] = static_cast<double>(limits.hold_ns) / 1e3;
  out["inject_us"] = static_cast<double>(limits.inject_ns) / 1e3;
  out["rt_policy"] = limits.rt_policy == PVSCHED_SCHED_RR ? "rr" : "fifo";
  out["rt_max"] = limits.rt_max;
  out["rt_critical"] = limits.rt_critical;
  out["nice_min"] = limits.nice_min;
  out["placement"] = limits.placement != 0;
  out["debug"] = limits.debug;
  return out;
}

}  // namespace

Json Session::device_status() const {
  Json out;
  out["present"] = device_.has_value();
  if (!device_) return out;
  out["path"] = printable(device_->path);
  out["slots"] = device_->slots;
  out["provided"] = device_->provided;
  if (!device_->trouble.empty()) out["trouble"] = device_->trouble;
  for (const auto& [name, value] : device_->details)
    out[name] = value.is_string() ? Json(printable(value.get<std::string>(), 80)) : value;
  return out;
}

Json Session::status() const {
  Json out;
  out["key"] = target_.key;
  out["name"] = target_.name;
  out["state"] = state_name(state_);
  if (!trouble_.empty()) out["trouble"] = trouble_;
  out["kind"] = target_.standalone ? "qmp" : "libvirt";
  out["qmp"] = qmp_ ? qmp_->transport() : "none";
  out["pid"] = pid_;
  out["enabled"] = limits().enabled != 0;
  out["policy"] = policy_;
  out["limits"] = limits_json(limits());
  out["device"] = device_status();
  if (!threads_.empty()) out["threads"] = threads_json();
  out["vcpus"] = Json::array();

  std::map<unsigned, VcpuStatus> known;
  if (vm_) {
    if (auto status = env_.engine->status(*vm_)) {
      out["rt_mode"] = rt_mode_name(status->rt_mode);
      out["rt_reason"] = status->rt_reason;
      for (const auto& vcpu : status->vcpus) known.emplace(vcpu.spec.id, vcpu);
    }
  }
  for (const auto& [id, vcpu] : vcpus_) {
    Json entry;
    entry["id"] = id;
    entry["tid"] = vcpu.spec.tid;
    entry["apic_id"] = vcpu.spec.apic_id;
    entry["start_time"] = vcpu.spec.start_time;
    entry["enabled"] = wanted(id);
    entry["registered"] = vcpu.registered;
    if (!vcpu.refusal.empty()) entry["trouble"] = vcpu.refusal;
    if (!vcpu.tag_origin.empty()) entry["tag"] = tag_json(vcpu.spec.tag, vcpu.tag_origin);
    if (Json cpus = cpus_json(vcpu); !cpus.is_null()) entry["cpus"] = std::move(cpus);
    if (auto it = known.find(id); it != known.end()) {
      entry["decision"] = decision_json(it->second.decision);
      entry["applied"] = decision_json(it->second.applied);
      entry["foreign"] = it->second.foreign;
      entry["alive"] = it->second.alive;
      entry["stats"] = stats_json(it->second.stats);
    }
    out["vcpus"].push_back(std::move(entry));
  }
  return out;
}

}  // namespace pvsched
