// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/config.h"

#include <glib.h>

#include <charconv>
#include <functional>
#include <memory>

#include "common/procfs.h"
#include "paths.h"

namespace pvsched {
namespace {

using Take = std::function<std::string(Config&, const std::string& value)>;  // returns what is allowed, or ""

struct Option {
  const char* group;
  const char* key;
  Take take;
};

Take number(unsigned Config::*field, unsigned low, unsigned high) {
  return [=](Config& config, const std::string& value) -> std::string {
    unsigned parsed = 0;
    auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), parsed);
    if (code != std::errc() || end != value.data() + value.size() || parsed < low || parsed > high)
      return "allowed is a whole number from " + std::to_string(low) + " to " + std::to_string(high);
    config.*field = parsed;
    return "";
  };
}

Take path(std::function<std::string&(Config&)> field) {
  return [=](Config& config, const std::string& value) -> std::string {
    if (value.empty() || value[0] != '/') return "allowed is an absolute path";
    field(config) = value;
    return "";
  };
}

Take path(std::string Config::*field) {
  return path([=](Config& config) -> std::string& { return config.*field; });
}

// Separated by ':'.
std::vector<std::string> split_paths(const std::string& value) {
  std::vector<std::string> out{""};
  for (char c : value) {
    if (c == ':')
      out.emplace_back();
    else
      out.back() += c;
  }
  return out;
}

Take paths(std::vector<std::string> Config::*field) {
  return [=](Config& config, const std::string& value) -> std::string {
    auto read = split_paths(value);
    for (const std::string& path : read)
      if (path.empty() || path[0] != '/') return "allowed are absolute paths, separated by ':'";
    config.*field = std::move(read);
    return "";
  };
}

const Option kOptions[] = {
    {"daemon", "run_dir", path(&Config::run_dir)},
    {"daemon", "socket", path(&Config::socket)},
    {"daemon", "schema", path(&Config::schema)},
    {"daemon", "reconcile_seconds", number(&Config::reconcile_s, 0, 3600)},
    {"policy", "bpf_object", path(&Config::bpf_object)},
    {"policy", "policies", paths(&Config::policies)},
    {"policy", "keys", path([](Config& config) -> std::string& { return config.trust.keys; })},
    {"policy", "signed",
     [](Config& config, const std::string& value) -> std::string {
       if (value != "optional" && value != "required") return "allowed are optional, required";
       config.trust.signature_required = value == "required";
       return "";
     }},
    {"policy", "guardian", path(&Config::guardian)},
    {"policy", "actuator",
     [](Config& config, const std::string& value) -> std::string {
       if (value != "setattr" && value != "scx") return "allowed are setattr, scx";
       config.actuator = value;
       return "";
     }},
    {"policy", "scheduler", path(&Config::scheduler)},
    {"policy", "lease_ms", number(&Config::lease_ms, 50, 10000)},
    {"policy", "actuator_priority", number(&Config::actuator_priority, 1, 99)},
    {"libvirt", "uri",
     [](Config& config, const std::string& value) -> std::string {
       if (value != "none" && value.find(':') == std::string::npos)
         return "allowed is a libvirt URI, as qemu:///system, or none";
       config.libvirt_uri = value;
       return "";
     }},
    {"libvirt", "run_dir", path(&Config::libvirt_run)},
    {"log", "level",
     [](Config& config, const std::string& value) -> std::string {
       auto level = parse_log_level(value);
       if (!level) return "allowed are debug, info, warning, error";
       config.log_level = *level;
       return "";
     }},
    {"log", "target",
     [](Config& config, const std::string& value) -> std::string {
       if (value != "auto" && value != "journal" && value != "stderr") return "allowed are auto, journal, stderr";
       config.log_target = value;
       return "";
     }},
};

// A key of [tag NAME].
std::string take_tag_rule(CpuRule& rule, const std::string& key, const std::string& value) {
  if (key == "cpus") {
    auto cpus = parse_cpus(value);
    if (!cpus) return "allowed are CPUs below " + std::to_string(kMaxCpus) + ", as 0-3,8";
    rule.prefer = *cpus;
    return "";
  }
  if (key != "busy") return "allowed keys are cpus busy";
  unsigned percent = 0;
  auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), percent);
  if (code != std::errc() || end != value.data() + value.size() || percent < 1 || percent > 100)
    return "allowed is a whole number from 1 to 100";
  rule.busy = percent;
  return "";
}

struct FreeKeyFile {
  void operator()(GKeyFile* file) const { g_key_file_free(file); }
};
struct FreeText {
  void operator()(char* text) const { g_free(text); }
  void operator()(char** texts) const { g_strfreev(texts); }
};

std::string strip(const std::string& text) {
  std::unique_ptr<char, FreeText> copy(g_strdup(text.c_str()));
  return g_strstrip(copy.get());
}

// Line of a key (or, with no key, of a group): GKeyFile does not keep it.
int line_of(const std::string& text, const std::string& group, const std::string& key) {
  std::string current;
  int number = 0;
  int found = 0;
  std::unique_ptr<char*, FreeText> lines(g_strsplit(text.c_str(), "\n", -1));
  for (char** it = lines.get(); *it != nullptr; ++it) {
    ++number;
    const std::string line = strip(*it);
    if (!line.empty() && line.front() == '[' && line.back() == ']') {
      current = line.substr(1, line.size() - 2);
      if (key.empty() && current == group) return number;
    } else if (current == group && !key.empty() && strip(line.substr(0, line.find('='))) == key) {
      found = number;  // the last one counts, as in GKeyFile
    }
  }
  return found;
}

}  // namespace

Config default_config() {
  Config config;
  config.run_dir = PVSCHED_RUN_DIR;
  config.schema = PVSCHED_SCHEMA;
  config.bpf_object = PVSCHED_BPF_OBJECT;
  config.policies = split_paths(PVSCHED_POLICIES);
  config.trust.keys = PVSCHED_KEYS;
  config.guardian = PVSCHED_GUARDIAN;
  config.scheduler = PVSCHED_SCHEDULER;
  return config;
}

ConfigReading read_config(const std::string& text, const std::string& file, const Config& base) {
  ConfigReading reading{base, {}};
  std::unique_ptr<GKeyFile, FreeKeyFile> keys(g_key_file_new());
  GError* error = nullptr;
  if (g_key_file_load_from_data(keys.get(), text.c_str(), text.size(), G_KEY_FILE_NONE, &error) == FALSE) {
    reading.faults.push_back(file + ": " + error->message);
    g_error_free(error);
    return reading;
  }
  std::unique_ptr<char*, FreeText> groups(g_key_file_get_groups(keys.get(), nullptr));
  for (char** group = groups.get(); *group != nullptr; ++group) {
    const bool tags = std::string(*group) == "tags";
    const std::string tag = std::string(*group).starts_with("tag ") ? strip(*group + 4) : "";
    bool known_group = tags || !tag.empty();
    for (const auto& option : kOptions) known_group |= std::string(option.group) == *group;
    if (!known_group) {
      reading.faults.push_back(file + ":" + std::to_string(line_of(text, *group, "")) + ": [" + *group +
                               "]: allowed groups are daemon, policy, libvirt, log, tags, tag NAME");
      continue;
    }
    std::unique_ptr<char*, FreeText> names(g_key_file_get_keys(keys.get(), *group, nullptr, nullptr));
    for (char** name = names.get(); name != nullptr && *name != nullptr; ++name) {
      std::unique_ptr<char, FreeText> raw(g_key_file_get_value(keys.get(), *group, *name, nullptr));
      const std::string value = strip(raw ? raw.get() : "");
      std::string allowed = "allowed keys are";
      bool known = tags;
      if (tags) {
        allowed = tag_fault(*name, value);
        if (allowed.empty()) reading.config.tags[*name] = static_cast<TagValue>(std::stoul(value));
      }
      for (const auto& option : kOptions) {
        if (std::string(option.group) != *group) continue;
        if (std::string(option.key) == *name) {
          known = true;
          allowed = option.take(reading.config, value);
          break;
        }
        allowed += std::string(" ") + option.key;
      }
      if (!tag.empty()) {
        known = true;
        allowed = take_tag_rule(reading.config.tag_cpus[tag], *name, value);
      }
      if (known && allowed.empty()) continue;
      reading.faults.push_back(file + ":" + std::to_string(line_of(text, *group, *name)) + ": [" + *group + "] " +
                               *name + "=" + value + ": " + allowed);
    }
  }
  return reading;
}

ConfigReading load_config(const std::string& file, const Config& base, bool needed) {
  auto text = read_file(file);
  if (text) return read_config(*text, file, base);
  ConfigReading reading{base, {}};
  if (needed || text.error().code() != ENOENT) reading.faults.push_back(text.error().text());
  return reading;
}

}  // namespace pvsched
