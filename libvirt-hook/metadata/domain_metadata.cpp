// SPDX-License-Identifier: GPL-2.0-or-later
// Reads the pvsched element: our own checks come first and make the sentences; the schema is the gate behind them.
#include <charconv>
#include <map>
#include <optional>
#include <set>

#include "common/cpus.h"
#include "metadata/attributes.h"
#include "metadata/domain_config.h"
#include "metadata/xml_document.h"

namespace pvsched {

namespace {

constexpr std::size_t kQuoteMax = 40;
constexpr std::string_view kSpace = " \t\r\n";

bool is_ours(const xmlNode* node) { return node->ns != nullptr && text_of(node->ns->href) == kMetadataUri; }

bool is_element(const xmlNode* node) { return node->type == XML_ELEMENT_NODE; }

std::string_view trim(std::string_view text) {
  std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

/// The text in quotation marks, of one line and bounded length.
std::string quote(std::string_view text) {
  bool cut = text.size() > kQuoteMax;
  if (cut) {
    std::size_t end = kQuoteMax;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0u) == 0x80u) --end;  // not within a character
    text = text.substr(0, end);
  }
  std::string quoted = "\"";
  for (char c : text) quoted += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return quoted + (cut ? "...\"" : "\"");
}

std::string tag(std::string_view name) { return "<" + std::string(name) + ">"; }

std::string with_prefix(const xmlNs* ns, const xmlChar* name) {
  std::string text;
  if (ns != nullptr && ns->prefix != nullptr) text = std::string(text_of(ns->prefix)) + ":";
  return text + std::string(text_of(name));
}

template <typename Table>
std::string list_names(const Table& table) {
  std::string text;
  for (const auto& name : table) text += (text.empty() ? "" : ", ") + std::string(name);
  return text;
}

std::string known_children() {
  std::vector<std::string_view> names;
  for (const ElementInfo& child : child_table()) names.push_back(child.name);
  return list_names(names);
}

std::string known_attributes(std::string_view element) {
  std::vector<std::string_view> names;
  for (const AttributeInfo& info : attribute_table()) {
    if (info.element == element) names.push_back(info.name);
  }
  return list_names(names);
}

const ElementInfo* find_child(std::string_view name) {
  for (const ElementInfo& child : child_table()) {
    if (child.name == name) return &child;
  }
  return nullptr;
}

/// The values of one element: read where given and right, else the default. `given` tells which were right.
struct Values {
  const xmlNode* node = nullptr;
  std::map<std::string_view, std::int64_t> numbers;
  std::set<std::string_view> given;
  std::string name;  ///< the one Name, or the one Cpus
};

/// Whole decimal number without sign "+" and leading zeros: as the schema's patterns have it.
enum class Number { NotOne, TooLarge, Good };
Number read_number(std::string_view text, std::int64_t& value) {
  std::string_view digits = text.starts_with('-') ? text.substr(1) : text;
  if (digits.empty() || digits.find_first_not_of("0123456789") != std::string_view::npos) return Number::NotOne;
  if (digits.front() == '0' && text.size() > 1) return Number::NotOne;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  return code == std::errc() ? Number::Good : Number::TooLarge;
}

class ElementReader {
 public:
  ElementReader(const XmlDocument& document, DomainMetadata& result) : document_(document), result_(result) {}

  /// Reads one pvsched element into the result; adds faults.
  void read(const xmlNode* element);

  void fault(int line, const std::string& text) {
    if (result_.faults.size() > kMaxFaults) return;
    std::string where = "line " + std::to_string(line) + ": ";
    if (result_.faults.size() == kMaxFaults) {
      result_.faults.push_back(
          {line, where + "more faults follow; the first " + std::to_string(kMaxFaults) + " are shown"});
      return;
    }
    result_.faults.push_back({line, where + text});
  }

 private:
  Values read_values(const xmlNode* element, std::string_view name);
  void read_value(const xmlNode* element, const xmlAttr* attribute, const AttributeInfo& info, const xmlAttr* unit,
                  Values& values);
  void check_content(const xmlNode* element, std::string_view name);
  void read_child(const xmlNode* child, DomainConfig& config);
  void read_vcpu(const Values& values, DomainConfig& config);
  void read_thread(const Values& values, DomainConfig& config);
  void check_threads(const DomainConfig& config);
  void check_boost(const Values& values);
  void check_priority(const Values& values);

  bool full() const { return result_.faults.size() > kMaxFaults; }

  const XmlDocument& document_;
  DomainMetadata& result_;
  std::map<std::string_view, int> seen_;  ///< child -> its first line
  std::map<std::int64_t, int> vcpu_lines_;
  std::vector<int> thread_lines_;  ///< of config.threads
};

void ElementReader::read_value(const xmlNode* element, const xmlAttr* attribute, const AttributeInfo& info,
                               const xmlAttr* unit, Values& values) {
  std::string raw = value_of(attribute);
  std::string_view text = trim(raw);
  auto refuse = [&](const std::string& why) {
    fault(document_.line_of(element, info.name),
          tag(info.element) + " attribute " + std::string(info.name) + "=" + quote(raw) + why);
  };
  auto accept = [&](std::int64_t value) {
    values.numbers[info.name] = value;
    values.given.insert(info.name);
  };
  switch (info.kind) {
    case ValueKind::Choice:
      for (std::size_t i = 0; i < info.choices.size() && !info.choices[i].empty(); ++i) {
        if (text == info.choices[i]) return accept(static_cast<std::int64_t>(i));
      }
      return refuse(": allowed is " + allowed_text(info));
    case ValueKind::Name:
      if (!valid_name(text)) return refuse(": allowed is " + allowed_text(info));
      values.name = text;
      values.given.insert(info.name);
      return;
    case ValueKind::Cpus:
      if (!parse_cpus(text)) return refuse(": allowed are " + allowed_text(info));
      values.name = text;
      values.given.insert(info.name);
      return;
    case ValueKind::Integer: {
      std::int64_t value = 0;
      switch (read_number(text, value)) {
        case Number::NotOne:
          return refuse(": not a plain whole number; allowed is " + allowed_text(info));
        case Number::Good:
          if (value >= info.min && value <= info.max) return accept(value);
          [[fallthrough]];
        case Number::TooLarge:
          return refuse(": allowed is " + allowed_text(info));
      }
      return;
    }
    case ValueKind::Time: {
      auto index = static_cast<std::size_t>(values.numbers.at("unit"));
      std::int64_t unit_ns = kUnitNs.at(index);
      std::int64_t min = (info.min + unit_ns - 1) / unit_ns;
      std::int64_t max = info.max / unit_ns;
      std::string unit_text = std::string(kUnits.at(index));
      std::string allowed =
          "allowed is " + std::to_string(min) + " to " + std::to_string(max) + " (" + allowed_text(info) + ")";
      std::string with = unit == nullptr ? " without unit, so in " + unit_text : " with unit=\"" + unit_text + "\"";
      std::int64_t value = 0;
      switch (read_number(text, value)) {
        case Number::NotOne:
          return refuse(with + ": not a plain whole number; " + allowed);
        case Number::Good:
          if (value >= min && value <= max) return accept(value * unit_ns);
          [[fallthrough]];
        case Number::TooLarge:
          return refuse(with + ": " + allowed);
      }
      return;
    }
  }
}

Values ElementReader::read_values(const xmlNode* element, std::string_view name) {
  Values values;
  values.node = element;
  std::map<std::string_view, const xmlAttr*> found;
  for (const xmlAttr* attribute = element->properties; attribute != nullptr && !full(); attribute = attribute->next) {
    std::string written = with_prefix(attribute->ns, attribute->name);
    const AttributeInfo* info = find_attribute(name, text_of(attribute->name));
    if (info != nullptr && attribute->ns == nullptr) {
      found[info->name] = attribute;
    } else if (info != nullptr && text_of(attribute->ns->href) == kMetadataUri) {
      fault(document_.line_of(element, written),
            tag(name) + " attribute " + written + ": write it without a prefix, as " + std::string(info->name));
    } else {
      fault(document_.line_of(element, written),
            tag(name) + " has no attribute " + quote(written) + "; known are " + known_attributes(name));
    }
  }
  const xmlAttr* unit = nullptr;
  if (auto it = found.find("unit"); it != found.end()) unit = it->second;
  for (const AttributeInfo& info : attribute_table()) {
    if (info.element != name || info.mandatory) continue;
    if (info.kind == ValueKind::Name || info.kind == ValueKind::Cpus)
      values.name = info.fallback_name;
    else
      values.numbers[info.name] = info.fallback;
  }
  // The unit first: it decides the range of the times. A wrong one is a fault enough: times are not judged by a guess.
  bool unit_good = true;
  if (unit != nullptr) {
    std::size_t before = result_.faults.size();
    read_value(element, unit, *find_attribute(name, "unit"), nullptr, values);
    unit_good = result_.faults.size() == before;
  }
  for (const AttributeInfo& info : attribute_table()) {
    if (info.element != name || info.name == "unit") continue;
    auto it = found.find(info.name);
    if (it != found.end()) {
      if (info.kind != ValueKind::Time || unit_good) read_value(element, it->second, info, unit, values);
    } else if (info.mandatory) {
      fault(document_.line_of(element),
            tag(name) + " lacks the attribute " + std::string(info.name) + ": allowed is " + allowed_text(info));
    }
  }
  return values;
}

/// Text and, in the children, elements: neither is allowed.
void ElementReader::check_content(const xmlNode* element, std::string_view name) {
  bool root = name == kRootElement;
  for (const xmlNode* node = element->children; node != nullptr && !full(); node = node->next) {
    if (is_element(node)) {
      if (!root) {
        fault(document_.line_of(node),
              tag(name) + " has no element " + tag(text_of(node->name)) + "; it has attributes only");
      }
    } else if (node->type == XML_TEXT_NODE || node->type == XML_CDATA_SECTION_NODE) {
      std::string_view text = trim(text_of(node->content));
      if (!text.empty()) {
        fault(document_.line_of(element), tag(name) + " contains the text " + quote(text) +
                                              (root ? "; it has elements only" : "; it has attributes only"));
      }
    }
  }
}

void ElementReader::check_boost(const Values& values) {
  std::int64_t critical = values.numbers.at("critical");
  std::int64_t total = values.numbers.at("total");
  if (critical <= total) return;
  auto text = [&](std::string_view name, std::int64_t ns) {
    return std::string(name) + " " + format_time(ns) + (values.given.contains(name) ? "" : " (the default)");
  };
  fault(document_.line_of(values.node), tag("boost") + " " + text("critical", critical) + " is above " +
                                            text("total", total) + "; allowed is at most the total");
}

void ElementReader::check_priority(const Values& values) {
  std::int64_t critical = values.numbers.at("critical");
  std::int64_t max = values.numbers.at("max");
  if (critical >= max) return;
  auto text = [&](std::string_view name, std::int64_t value) {
    return std::string(name) + " " + std::to_string(value) + (values.given.contains(name) ? "" : " (the default)");
  };
  fault(document_.line_of(values.node), tag("priority") + " " + text("critical", critical) + " is below " +
                                            text("max", max) +
                                            "; a critical section must not rank below a task: allowed is max or above");
}

void ElementReader::read_vcpu(const Values& values, DomainConfig& config) {
  if (!values.given.contains("id")) return;  // a fault already
  std::int64_t id = values.numbers.at("id");
  auto [it, fresh] = vcpu_lines_.emplace(id, document_.line_of(values.node, "id"));
  if (!fresh) {
    fault(document_.line_of(values.node, "id"), tag("vcpu") + " attribute id=\"" + std::to_string(id) +
                                                    "\": already given on line " + std::to_string(it->second) +
                                                    "; allowed is each id once");
    return;
  }
  config.vcpus[static_cast<unsigned>(id)] = values.numbers.at("enabled") == kYes;
  if (!values.name.empty()) config.vcpu_tags[static_cast<unsigned>(id)] = values.name;
}

void ElementReader::read_thread(const Values& values, DomainConfig& config) {
  constexpr std::uint8_t kPolicies[] = {PVSCHED_SCHED_OTHER, PVSCHED_SCHED_FIFO, PVSCHED_SCHED_RR};
  ThreadConfig thread;
  thread.iothread = values.numbers.at("kind") != 0;
  thread.id = static_cast<unsigned>(values.numbers.at("id"));
  thread.policy = kPolicies[values.numbers.at("policy")];
  thread.nice = static_cast<std::int8_t>(values.numbers.at("nice"));
  thread.priority = static_cast<std::uint8_t>(values.numbers.at("priority"));
  const int line = document_.line_of(values.node);
  const bool realtime = thread.policy != PVSCHED_SCHED_OTHER;
  auto wrong = [&](const std::string& what) { fault(line, tag("thread") + " " + what); };
  if (!thread.iothread && thread.id != 0) wrong("kind=\"emulator\" has an id; allowed is one with kind=\"iothread\"");
  if (realtime && thread.priority == 0) wrong("with a real-time policy lacks the attribute priority");
  if (!realtime && thread.priority != 0) wrong("has a priority without a real-time policy; allowed is fifo or rr");
  if (realtime && thread.nice != 0) wrong("has a nice value with a real-time policy; allowed is policy=\"other\"");
  for (std::size_t i = 0; i < config.threads.size(); ++i)
    if (config.threads[i].iothread == thread.iothread && config.threads[i].id == thread.id)
      wrong("is given already on line " + std::to_string(thread_lines_[i]) + "; allowed is each thread once");
  config.threads.push_back(thread);
  thread_lines_.push_back(line);
}

/// By the cap of the whole element, which may stand after them.
void ElementReader::check_threads(const DomainConfig& config) {
  for (std::size_t i = 0; i < config.threads.size(); ++i)
    if (config.threads[i].priority > config.limits.rt_max)
      fault(thread_lines_[i], tag("thread") + " priority " + std::to_string(config.threads[i].priority) + " is above " +
                                  tag("priority") + " max " + std::to_string(config.limits.rt_max) +
                                  "; allowed is at most that");
}

void ElementReader::read_child(const xmlNode* child, DomainConfig& config) {
  std::string_view name = text_of(child->name);
  const ElementInfo* info = find_child(name);
  if (info != nullptr && child->ns == nullptr) {
    return fault(document_.line_of(child), tag(name) + " is in no namespace; write it with the prefix of <pvsched>");
  }
  if (info == nullptr || !is_ours(child)) {
    return fault(document_.line_of(child),
                 tag(kRootElement) + " has no element " +
                     tag(is_ours(child) ? std::string(name) : with_prefix(child->ns, child->name)) + "; known are " +
                     known_children());
  }
  auto [it, fresh] = seen_.emplace(info->name, document_.line_of(child));
  if (!fresh && !info->repeats) {
    return fault(document_.line_of(child), tag(name) + " is given a second time, first on line " +
                                               std::to_string(it->second) + "; allowed is once");
  }
  std::size_t before = result_.faults.size();
  Values values = read_values(child, info->name);
  bool values_good = result_.faults.size() == before;
  check_content(child, info->name);
  pvs_limits& limits = config.limits;
  auto time = [&](std::string_view attribute) { return static_cast<__u64>(values.numbers.at(attribute)); };
  if (name == "policy") {
    config.policy = values.name;
  } else if (name == "tag") {
    config.tag = values.name;
  } else if (name == "priority") {
    if (values_good) check_priority(values);
    limits.rt_policy = values.numbers.at("policy") == 0 ? PVSCHED_SCHED_FIFO : PVSCHED_SCHED_RR;
    limits.rt_max = static_cast<__u8>(values.numbers.at("max"));
    limits.rt_critical = static_cast<__u8>(values.numbers.at("critical"));
    limits.nice_min = static_cast<__s8>(values.numbers.at("nice"));
  } else if (name == "boost") {
    if (values_good) check_boost(values);
    limits.critical_ns = time("critical");
    limits.total_ns = time("total");
  } else if (name == "throttle") {
    limits.throttle_ns = time("duration");
  } else if (name == "hold") {
    limits.hold_ns = time("time");
  } else if (name == "inject") {
    limits.inject_ns = time("time");
  } else if (name == "placement") {
    limits.placement = values.numbers.at("share") == kYes ? 1 : 0;
  } else if (name == "cpus") {
    if (auto prefer = parse_cpus(values.name))
      config.cpus = CpuRule{*prefer, static_cast<unsigned>(values.numbers.at("busy"))};
  } else if (name == "vcpu") {
    read_vcpu(values, config);
  } else if (name == "thread") {
    if (values_good) read_thread(values, config);
  } else if (name == "debug") {
    limits.debug = static_cast<__u8>(values.numbers.at("level"));
  }
}

void ElementReader::read(const xmlNode* element) {
  DomainConfig config;
  Values values = read_values(element, kRootElement);
  config.enabled = values.numbers.at("enabled") == kYes;
  config.required = values.numbers.at("required") == kYes;
  config.limits.enabled = config.enabled ? 1 : 0;
  result_.required = result_.required || config.required;
  check_content(element, kRootElement);
  for (const xmlNode* child = element->children; child != nullptr && !full(); child = child->next) {
    if (is_element(child)) read_child(child, config);
  }
  check_threads(config);
  if (result_.faults.empty()) result_.config = std::move(config);
}

/// The elements of our URI where they belong: the root, or the children of domain/metadata.
std::vector<xmlNode*> find_elements(xmlNode* root) {
  std::vector<xmlNode*> found;
  if (is_ours(root)) {
    found.push_back(root);
    return found;
  }
  if (root->ns != nullptr || text_of(root->name) != "domain") return found;
  for (xmlNode* part = root->children; part != nullptr; part = part->next) {
    if (!is_element(part) || part->ns != nullptr || text_of(part->name) != "metadata") continue;
    for (xmlNode* child = part->children; child != nullptr; child = child->next) {
      if (is_element(child) && is_ours(child)) found.push_back(child);
    }
  }
  return found;
}

}  // namespace

Result<DomainMetadata> parse_domain_metadata(std::string_view xml, const std::string& schema_path) {
  auto document = XmlDocument::parse(xml, kMetadataUri);
  if (!document) return document.error();
  DomainMetadata result;
  std::vector<xmlNode*> elements = find_elements(document->root());
  if (elements.empty()) return result;
  auto schema = XmlSchema::load(schema_path);
  if (!schema) return schema.error();

  result.present = true;
  int first_line = document->line_of(elements.front());
  for (xmlNode* element : elements) {
    if (result.faults.size() > kMaxFaults) break;
    ElementReader reader(*document, result);
    int line = document->line_of(element);
    std::string_view name = text_of(element->name);
    if (name != kRootElement) {
      reader.fault(line, tag(name) + " is unknown in the namespace " + kMetadataUri + "; known here is pvsched");
      continue;
    }
    if (element != elements.front()) {
      reader.fault(line, "a second element of the namespace " + std::string(kMetadataUri) + ", first on line " +
                             std::to_string(first_line) + "; allowed is one");
    }
    reader.read(element);
  }
  if (result.faults.empty() && !schema->accepts(elements.front())) {
    ElementReader(*document, result).fault(first_line, "<pvsched> does not follow the schema pvsched-domain-1.0.rng");
  }
  if (!result.faults.empty()) result.config.reset();
  return result;
}

}  // namespace pvsched
