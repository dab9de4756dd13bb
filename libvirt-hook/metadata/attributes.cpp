// SPDX-License-Identifier: GPL-2.0-or-later
#include "metadata/attributes.h"

#include <algorithm>

#include "common/cpus.h"
#include "policy.h"

namespace pvsched {

namespace {

using enum ValueKind;

constexpr std::array<std::string_view, 3> kYesNo = {"yes", "no", ""};
constexpr std::int64_t kNo = 1;
constexpr std::int64_t kMilliseconds = 1;

constexpr AttributeInfo kAttributes[] = {
    {.element = "pvsched",
     .name = "enabled",
     .kind = Choice,
     .fallback = kYes,
     .choices = kYesNo,
     .meaning = "`no`: the VM's vCPUs stay at their baseline"},
    {.element = "pvsched",
     .name = "required",
     .kind = Choice,
     .fallback = kNo,
     .choices = kYesNo,
     .meaning = "`yes`: refuse to start the VM where this element is wrong, instead of a warning"},
    {.element = "policy",
     .name = "name",
     .kind = Name,
     .fallback_name = kDefaultPolicy,
     .meaning = "the policy program; the default serves the VM where pvschedd has none of that name"},
    {.element = "tag",
     .name = "name",
     .kind = Name,
     .fallback_name = "none",
     .meaning =
         "tag of the VM's vCPUs: none, foreground, background, or a name from pvschedd.conf; policies act on it"},
    {.element = "priority",
     .name = "policy",
     .kind = Choice,
     .fallback = 0,
     .choices = {"fifo", "rr", ""},
     .meaning = "real-time policy of boosted vCPU threads"},
    {.element = "priority",
     .name = "max",
     .kind = Integer,
     .min = 0,
     .max = PVS_RT_PRIORITY_MAX,
     .fallback = PVS_RT_MAX_DEFAULT,
     .meaning = "cap of a guest task's real-time priority; 0: real-time tasks do not boost"},
    {.element = "priority",
     .name = "critical",
     .kind = Integer,
     .min = 1,
     .max = PVS_RT_PRIORITY_MAX,
     .fallback = PVS_RT_CRITICAL_DEFAULT,
     .meaning = "real-time priority in a critical section and for an injected interrupt; not below `max`"},
    {.element = "priority",
     .name = "nice",
     .kind = Integer,
     .min = PVSCHED_NICE_MIN,
     .max = 0,
     .fallback = PVS_NICE_MIN_DEFAULT,
     .meaning = "cap of a fair guest task's nice value; 0: fair tasks do not boost"},
    {.element = "boost",
     .name = "critical",
     .kind = Time,
     .min = PVS_BUDGET_NS_MIN,
     .max = PVS_BUDGET_NS_MAX,
     .fallback = PVS_CRITICAL_NS_DEFAULT,
     .meaning = "budget of run time with a critical boost; not above `total`"},
    {.element = "boost",
     .name = "total",
     .kind = Time,
     .min = PVS_BUDGET_NS_MIN,
     .max = PVS_BUDGET_NS_MAX,
     .fallback = PVS_TOTAL_NS_DEFAULT,
     .meaning = "budget of run time with any boost"},
    {.element = "boost",
     .name = "unit",
     .kind = Choice,
     .fallback = kMilliseconds,
     .choices = kUnits,
     .meaning = "unit of the times in this element"},
    {.element = "throttle",
     .name = "duration",
     .kind = Time,
     .min = 0,
     .max = PVS_THROTTLE_NS_MAX,
     .fallback = PVS_THROTTLE_NS_DEFAULT,
     .meaning = "least time without boost once a budget is empty"},
    {.element = "throttle",
     .name = "unit",
     .kind = Choice,
     .fallback = kMilliseconds,
     .choices = kUnits,
     .meaning = "unit of the time in this element"},
    {.element = "hold",
     .name = "time",
     .kind = Time,
     .min = 0,
     .max = PVS_HOLD_NS_MAX,
     .fallback = PVS_HOLD_NS_DEFAULT,
     .meaning = "run time for which a vCPU that wakes from a halt stays boosted, whatever it wakes for"},
    {.element = "hold",
     .name = "unit",
     .kind = Choice,
     .fallback = kMilliseconds,
     .choices = kUnits,
     .meaning = "unit of the time in this element"},
    {.element = "inject",
     .name = "time",
     .kind = Time,
     .min = 0,
     .max = PVS_HOLD_NS_MAX,
     .fallback = PVS_INJECT_NS_DEFAULT,
     .meaning = "run time for which an injected interrupt may stay boosted"},
    {.element = "inject",
     .name = "unit",
     .kind = Choice,
     .fallback = kMilliseconds,
     .choices = kUnits,
     .meaning = "unit of the time in this element"},
    {.element = "placement",
     .name = "share",
     .kind = Choice,
     .fallback = kNo,
     .choices = kYesNo,
     .meaning = "`yes`: the guest is told on which CPU and node of the host each of its vCPUs is, and whether it runs"},
    {.element = "cpus",
     .name = "prefer",
     .kind = Cpus,
     .mandatory = true,
     .meaning =
         "CPUs that the vCPUs are kept on, of those that they are pinned to, while others leave them free enough"},
    {.element = "cpus",
     .name = "busy",
     .kind = Integer,
     .min = 1,
     .max = 100,
     .fallback = kBusyDefault,
     .meaning = "percent of these CPUs' time that others may take before the vCPUs leave them"},
    {.element = "vcpu",
     .name = "id",
     .kind = Integer,
     .min = 0,
     .max = PVSCHED_MAX_SLOTS - 1,
     .mandatory = true,
     .meaning = "the vCPU, as `virsh vcpuinfo` counts them; each id once"},
    {.element = "vcpu",
     .name = "enabled",
     .kind = Choice,
     .fallback = kYes,
     .choices = kYesNo,
     .meaning = "`no`: this vCPU stays at its baseline"},
    {.element = "vcpu", .name = "tag", .kind = Name, .meaning = "tag of this vCPU, instead of the VM's"},
    {.element = "thread",
     .name = "kind",
     .kind = Choice,
     .choices = {"emulator", "iothread", ""},
     .mandatory = true,
     .meaning = "QEMU's main thread, or an I/O thread"},
    {.element = "thread",
     .name = "id",
     .kind = Integer,
     .min = 0,
     .max = PVS_IOTHREAD_ID_MAX,
     .fallback = 0,
     .meaning = "the I/O thread, as `virsh iothreadinfo` counts them; 0: each that is not named"},
    {.element = "thread",
     .name = "policy",
     .kind = Choice,
     .fallback = 0,
     .choices = {"other", "fifo", "rr"},
     .meaning = "its scheduling policy while the VM is served"},
    {.element = "thread",
     .name = "nice",
     .kind = Integer,
     .min = PVSCHED_NICE_MIN,
     .max = PVSCHED_NICE_MAX,
     .fallback = 0,
     .meaning = "its nice value, with `other`"},
    {.element = "thread",
     .name = "priority",
     .kind = Integer,
     .min = 0,
     .max = PVS_RT_PRIORITY_MAX,
     .fallback = 0,
     .meaning = "its real-time priority, with `fifo` and `rr`; 1 to `priority`'s `max`"},
    {.element = "debug",
     .name = "level",
     .kind = Integer,
     .min = 0,
     .max = PVS_DEBUG_MAX,
     .fallback = 0,
     .meaning = "what the policy reports: 0 nothing, 1 decisions, 2 every event"},
};

constexpr ElementInfo kChildren[] = {
    {"policy", false},   {"tag", false},  {"priority", false}, {"boost", false},
    {"throttle", false}, {"hold", false}, {"inject", false},   {"placement", false},
    {"cpus", false},     {"vcpu", true},  {"thread", true},    {"debug", false},
};

constexpr std::size_t kNameMax = 31;
static_assert(kNameMax + 1 == PVSCHED_POLICY_NAME_LEN, "a policy name and its NUL fit the register");

}  // namespace

std::span<const AttributeInfo> attribute_table() { return kAttributes; }

std::span<const ElementInfo> child_table() { return kChildren; }

const AttributeInfo* find_attribute(std::string_view element, std::string_view name) {
  const auto* it = std::ranges::find_if(
      kAttributes, [&](const AttributeInfo& info) { return info.element == element && info.name == name; });
  return it == std::end(kAttributes) ? nullptr : it;
}

bool valid_name(std::string_view text) {
  auto lower = [](char c) { return c >= 'a' && c <= 'z'; };
  if (text.empty() || text.size() > kNameMax || !lower(text.front())) return false;
  return std::ranges::all_of(text, [&](char c) { return lower(c) || (c >= '0' && c <= '9') || c == '-'; });
}

std::string format_time(std::int64_t ns) {
  if (ns < kUnitNs[0]) return "0";
  std::size_t unit = kUnits.size() - 1;
  while (unit > 0 && ns % kUnitNs[unit] != 0) --unit;
  return std::to_string(ns / kUnitNs[unit]) + " " + std::string(kUnits[unit]);
}

std::string allowed_text(const AttributeInfo& info) {
  switch (info.kind) {
    case Choice: {
      std::string text(info.choices[0]);
      for (std::size_t i = 1; i < info.choices.size() && !info.choices[i].empty(); ++i) {
        bool last = i + 1 == info.choices.size() || info.choices[i + 1].empty();
        text += (last ? " or " : ", ") + std::string(info.choices[i]);
      }
      return text;
    }
    case Integer:
      return std::to_string(info.min) + " to " + std::to_string(info.max);
    case Time:
      return format_time(info.min) + " to " + format_time(info.max);
    case Name:
      return "a lower-case letter, then up to 30 of a-z, 0-9 and -";
    case Cpus:
      return "CPUs below " + std::to_string(kMaxCpus) + ", as 0-3,8";
  }
  return {};
}

std::string default_text(const AttributeInfo& info) {
  if (info.mandatory || (info.kind == Name && info.fallback_name.empty())) return "none";
  switch (info.kind) {
    case Choice:
      return std::string(info.choices.at(static_cast<std::size_t>(info.fallback)));
    case Integer:
      return std::to_string(info.fallback);
    case Time:
      return format_time(info.fallback);
    case Name:
    case Cpus:
      return std::string(info.fallback_name);
  }
  return {};
}

std::string reference_table() {
  std::string table =
      "| element | attribute | default | allowed | meaning |\n"
      "|---|---|---|---|---|\n";
  for (const AttributeInfo& info : kAttributes) {
    table += "| `" + std::string(info.element) + "` | `" + std::string(info.name) + "` | " + default_text(info) +
             " | " + allowed_text(info) + " | " + std::string(info.meaning) + " |\n";
  }
  return table;
}

}  // namespace pvsched
