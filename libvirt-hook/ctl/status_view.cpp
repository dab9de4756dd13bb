// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/status_view.h"

#include <algorithm>

#include <fmt/format.h>

namespace pvsched {
namespace {

std::string text(const Json& value, const char* key, const char* otherwise = "-") {
  const Json& found = member(value, key);
  if (found.is_string()) return found.get<std::string>().empty() ? otherwise : printable(found.get<std::string>(), 300);
  if (found.is_number_float()) return fmt::format("{:.1f}", found.get<double>());
  if (found.is_number() || found.is_boolean()) return found.dump();
  return otherwise;
}

double number(const Json& value, const char* key) {
  const Json& found = member(value, key);
  return found.is_number() ? found.get<double>() : 0;
}

// "task/critical" sums
std::string both(const Json& pair, int digits) {
  return fmt::format("{:.{}f}", number(pair, "task") + number(pair, "critical"), digits);
}

std::string percentiles(const Json& histogram) {
  if (number(histogram, "count") == 0) return "-";
  return fmt::format("{:.0f}/{:.0f}", number(histogram, "p50_us"), number(histogram, "p99_us"));
}

std::string time_of(double us) { return us >= 1000 ? fmt::format("{:g} ms", us / 1000) : fmt::format("{:g} us", us); }

std::string now_class(const Json& vcpu) {
  const Json& decision = member(vcpu, "decision");
  if (!decision.is_object()) return bool_member(vcpu, "registered") == true ? "-" : "not served";
  std::string out = text(decision, "class");
  if (number(decision, "rt_priority") > 0) out += fmt::format(" rt {}", text(decision, "rt_priority"));
  return out;
}

std::string device_line(const Json& device) {
  if (bool_member(device, "present") != true) return "none: agentless";
  std::string out = text(device, "path") + ", " + text(device, "slots") + " slots";
  if (bool_member(device, "provided") != true) return out + ", without areas: " + text(device, "trouble");
  out += ", transport " + text(device, "transport") + " (" + text(device, "transport-result") + ")";
  if (member(device, "driver-status").is_number()) {
    const auto bits = int_member(device, "driver-status").value_or(0);
    const char* driver = bits & 0x80 ? "failed" : bits & 0x04 ? "running" : bits != 0 ? "starting" : "absent";
    out += fmt::format(", driver {} (0x{:02x})", driver, bits);
  }
  out += ", generation " + text(device, "generation");
  if (number(device, "guest-errors") > 0) out += ", guest errors " + text(device, "guest-errors");
  return out;
}

// "foreground (metadata, vm)"
std::string tag_text(const Json& vcpu) {
  const Json& tag = member(vcpu, "tag");
  return tag.is_object() ? text(tag, "name") + " (" + text(tag, "origin") + ")" : "-";
}

std::string limits_line(const Json& limits) {
  return fmt::format("{} up to {}, critical {}; budgets {} critical, {} total, throttle {}; nice from {}{}",
                     text(limits, "rt_policy"), text(limits, "rt_max"), text(limits, "rt_critical"),
                     time_of(number(limits, "critical_us")), time_of(number(limits, "total_us")),
                     time_of(number(limits, "throttle_us")), text(limits, "nice_min"),
                     bool_member(limits, "placement") == true ? "; placement shared" : "");
}

std::string show_vm(const Json& vm) {
  std::string out = "\nVM " + text(vm, "name") + "  (" + text(vm, "key") + ")\n";
  std::vector<std::vector<std::string>> facts;
  std::string state = text(vm, "state");
  if (bool_member(vm, "enabled") == false) state += ", disabled";
  if (member(vm, "trouble").is_string()) state += ": " + text(vm, "trouble");
  facts.push_back({"state", state});
  facts.push_back({"QEMU", "process " + text(vm, "pid") + ", over " + text(vm, "qmp")});
  facts.push_back({"device", device_line(member(vm, "device"))});
  facts.push_back({"limits", limits_line(member(vm, "limits"))});
  std::string mode = text(vm, "rt_mode");
  if (text(vm, "rt_reason") != "-") mode += ": " + text(vm, "rt_reason");
  facts.push_back({"boosts", mode});
  out += show_table(facts, "  ");
  std::vector<std::vector<std::string>> rows = {{"vCPU", "TID", "TAG", "CLASS NOW", "BOOSTED ms", "BOOSTS", "THROTTLES",
                                                 "FOREIGN", "WAKE-RUN us p50/p99", "EVENT-APPLIED us p50/p99"}};
  for (const auto& vcpu : member(vm, "vcpus")) {
    const Json& stats = member(vcpu, "stats");
    const Json& throttles = member(stats, "throttles");
    std::string foreign = text(stats, "foreign");
    if (bool_member(vcpu, "foreign") == true) foreign += " (now)";
    rows.push_back({text(vcpu, "id"), text(vcpu, "tid"), tag_text(vcpu), now_class(vcpu),
                    both(member(stats, "boosted_ms"), 1), both(member(stats, "boosts"), 0),
                    fmt::format("{:.0f}", number(throttles, "critical") + number(throttles, "total")), foreign,
                    percentiles(member(stats, "wake_to_run")), percentiles(member(stats, "event_to_applied"))});
  }
  return out + show_table(rows, "  ");
}

}  // namespace

std::string show_table(const std::vector<std::vector<std::string>>& rows, const std::string& indent) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i == widths.size()) widths.push_back(0);
      widths[i] = std::max(widths[i], row[i].size());
    }
  std::string out;
  for (const auto& row : rows) {
    std::string line = indent;
    for (std::size_t i = 0; i < row.size(); ++i)
      line += i + 1 < row.size() ? fmt::format("{:<{}}  ", row[i], widths[i]) : row[i];
    out += line + "\n";
  }
  return out;
}

std::string show_status(const Json& status) {
  std::vector<std::vector<std::string>> facts;
  facts.push_back({"pvschedd", text(status, "version") + ", process " + text(status, "pid") + ", " +
                                   (bool_member(status, "enabled") == true ? "enabled" : "disabled for all VMs")});
  std::string actuator = text(status, "actuator");
  if (text(status, "actuator_reason") != "-")
    actuator += " instead of " + text(status, "actuator_chosen") + ": " + text(status, "actuator_reason");
  facts.push_back({"actuator", actuator});
  const Json& libvirt = member(status, "libvirt");
  facts.push_back(
      {"libvirt", text(libvirt, "uri") + ", " +
                      (bool_member(libvirt, "connected") == true ? "connected" : text(libvirt, "trouble"))});
  std::string sources;
  for (const auto& source : member(status, "sources")) {
    if (!sources.empty()) sources += ", ";
    sources += text(source, "name");
    if (bool_member(source, "available") != true) sources += " (no: " + text(source, "reason") + ")";
  }
  facts.push_back({"sources", sources.empty() ? "none" : sources});
  std::string out = show_table(facts, "");
  const Json& vms = member(status, "vms");
  if (!vms.is_array() || vms.empty()) return out + "\nNo VM is served.\n";
  for (const auto& vm : vms) out += show_vm(vm);
  return out;
}

}  // namespace pvsched
