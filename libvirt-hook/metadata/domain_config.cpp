// SPDX-License-Identifier: GPL-2.0-or-later
#include "metadata/domain_config.h"

#include "metadata/attributes.h"

namespace pvsched {

namespace {

/// Index of the largest unit in which all the times are whole numbers.
std::size_t common_unit(std::initializer_list<__u64> times) {
  for (std::size_t unit = kUnits.size() - 1; unit > 0; --unit) {
    bool whole = true;
    for (__u64 ns : times) whole = whole && ns % static_cast<__u64>(kUnitNs[unit]) == 0;
    if (whole) return unit;
  }
  return 0;
}

std::string attribute(std::string_view name, std::string_view value) {
  std::string text = " " + std::string(name) + "=\"";
  for (char c : value) {
    switch (c) {
      case '&':
        text += "&amp;";
        break;
      case '<':
        text += "&lt;";
        break;
      case '"':
        text += "&quot;";
        break;
      default:
        text += c;
    }
  }
  return text + "\"";
}

std::string yes_no(bool value) { return value ? "yes" : "no"; }

std::string time_value(__u64 ns, std::size_t unit) { return std::to_string(ns / static_cast<__u64>(kUnitNs[unit])); }

std::string time_element(const char* element, const char* name, __u64 ns) {
  // A zero needs no unit above the default's: "0 ms" reads better than "0 s".
  std::size_t unit = ns == 0 ? 1 : common_unit({ns});
  return "  <pvsched:" + std::string(element) + attribute(name, time_value(ns, unit)) +
         attribute("unit", kUnits[unit]) + "/>\n";
}

}  // namespace

pvs_limits default_limits() {
  pvs_limits limits{};
  limits.critical_ns = PVS_CRITICAL_NS_DEFAULT;
  limits.total_ns = PVS_TOTAL_NS_DEFAULT;
  limits.throttle_ns = PVS_THROTTLE_NS_DEFAULT;
  limits.hold_ns = PVS_HOLD_NS_DEFAULT;
  limits.inject_ns = PVS_INJECT_NS_DEFAULT;
  limits.enabled = 1;
  limits.rt_policy = PVSCHED_SCHED_FIFO;
  limits.rt_max = PVS_RT_MAX_DEFAULT;
  limits.rt_critical = PVS_RT_CRITICAL_DEFAULT;
  limits.nice_min = PVS_NICE_MIN_DEFAULT;
  return limits;
}

std::string DomainMetadata::explain() const {
  std::string text;
  for (const Fault& fault : faults) {
    if (!text.empty()) text += "; ";
    text += fault.text;
  }
  return text;
}

std::string to_xml(const DomainConfig& config) {
  const pvs_limits& limits = config.limits;
  std::string xml = "<pvsched:pvsched xmlns:pvsched=\"" + std::string(kMetadataUri) + "\"" +
                    attribute("enabled", yes_no(config.enabled)) + attribute("required", yes_no(config.required)) +
                    ">\n";
  xml += "  <pvsched:policy" + attribute("name", config.policy) + "/>\n";
  if (config.tag != "none") xml += "  <pvsched:tag" + attribute("name", config.tag) + "/>\n";
  xml += "  <pvsched:priority" + attribute("policy", limits.rt_policy == PVSCHED_SCHED_RR ? "rr" : "fifo") +
         attribute("max", std::to_string(limits.rt_max)) + attribute("critical", std::to_string(limits.rt_critical)) +
         attribute("nice", std::to_string(limits.nice_min)) + "/>\n";
  std::size_t unit = common_unit({limits.critical_ns, limits.total_ns});
  xml += "  <pvsched:boost" + attribute("critical", time_value(limits.critical_ns, unit)) +
         attribute("total", time_value(limits.total_ns, unit)) + attribute("unit", kUnits[unit]) + "/>\n";
  xml += time_element("throttle", "duration", limits.throttle_ns);
  xml += time_element("hold", "time", limits.hold_ns);
  xml += time_element("inject", "time", limits.inject_ns);
  xml += "  <pvsched:placement" + attribute("share", yes_no(limits.placement != 0)) + "/>\n";
  if (config.cpus)
    xml += "  <pvsched:cpus" + attribute("prefer", format_cpus(config.cpus->prefer)) +
           attribute("busy", std::to_string(config.cpus->busy)) + "/>\n";
  for (auto [id, enabled] : config.vcpus) {
    xml += "  <pvsched:vcpu" + attribute("id", std::to_string(id)) + attribute("enabled", yes_no(enabled));
    if (auto it = config.vcpu_tags.find(id); it != config.vcpu_tags.end()) xml += attribute("tag", it->second);
    xml += "/>\n";
  }
  for (const ThreadConfig& thread : config.threads) {
    const char* policy = thread.policy == PVSCHED_SCHED_RR ? "rr" : thread.priority != 0 ? "fifo" : "other";
    xml += "  <pvsched:thread" + attribute("kind", thread.iothread ? "iothread" : "emulator");
    if (thread.id != 0) xml += attribute("id", std::to_string(thread.id));
    xml += attribute("policy", policy);
    xml += thread.priority != 0 ? attribute("priority", std::to_string(thread.priority))
                                : attribute("nice", std::to_string(thread.nice));
    xml += "/>\n";
  }
  xml += "  <pvsched:debug" + attribute("level", std::to_string(limits.debug)) + "/>\n";
  xml += "</pvsched:pvsched>\n";
  return xml;
}

}  // namespace pvsched
