// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/policies.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "common/procfs.h"
#include "ctl/client.h"
#include "ctl/status_view.h"
#include "paths.h"
#include "pvsched/abi.h"

namespace pvsched {
namespace {

int fail(const std::string& text, int code = kExitFault) {
  fmt::print(stderr, "pvschedctl: {}\n", text);
  return code;
}

int fail(const Error& error) { return fail(error.text(), error.code() == ENOTCONN ? kExitUnreachable : kExitFault); }

std::string shown(const Json& policy, const char* key) {
  return printable(string_member(policy, key).value_or(""), 300);
}

void print_one(const Json& policy) {
  fmt::print("name:     {}\nversion:  {}\nsummary:  {}\nobject:   {}\ntrusted:  by {}\n", shown(policy, "name"),
             shown(policy, "version"), shown(policy, "summary"), shown(policy, "path"), shown(policy, "trust"));
  const std::string refused = shown(policy, "refused");
  if (!refused.empty()) fmt::print("refused:  {}\n", refused);
}

bool good_name(const std::string& name) {
  auto lower = [](char c) { return c >= 'a' && c <= 'z'; };
  return !name.empty() && name.size() < PVSCHED_POLICY_NAME_LEN && lower(name[0]) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return lower(c) || (c >= '0' && c <= '9'); });
}

std::string filled_in(std::string text, const std::string& key, const std::string& value) {
  for (auto at = text.find(key); at != std::string::npos; at = text.find(key, at + value.size()))
    text.replace(at, key.size(), value);
  return text;
}

}  // namespace

int run_policy_list(const CtlOptions& options, const std::string& name, bool json) {
  auto answer = ask_daemon(options.socket, {{"op", "policies"}}, options.timeout_s * 1000);
  if (!answer) return fail(answer.error());
  Json policies = member(*answer, "policies");
  if (!name.empty()) {
    auto found =
        std::find_if(policies.begin(), policies.end(), [&](const Json& p) { return shown(p, "name") == name; });
    if (found == policies.end()) return fail("pvschedd has no policy '" + name + "'");
    if (json)
      fmt::print("{}\n", found->dump(2));
    else
      print_one(*found);
    return kExitOk;
  }
  if (json) {
    fmt::print("{}\n", policies.dump(2));
    return kExitOk;
  }
  std::vector<std::vector<std::string>> rows{{"NAME", "VERSION", "TRUSTED BY", "SUMMARY"}};
  for (const Json& policy : policies)
    if (shown(policy, "refused").empty())
      rows.push_back(
          {shown(policy, "name"), shown(policy, "version"), shown(policy, "trust"), shown(policy, "summary")});
  fmt::print("{}", show_table(rows, ""));
  for (const Json& policy : policies)
    if (!shown(policy, "refused").empty()) fmt::print("refused: {}\n", shown(policy, "refused"));
  return kExitOk;
}

int run_policy_take(const CtlOptions& options, const std::string& operation, const std::string& path) {
  const std::string absolute = std::filesystem::absolute(path).string();
  auto answer =
      ask_daemon(options.socket, {{"op", "policy-" + operation}, {"path", absolute}}, options.timeout_s * 1000);
  if (!answer) return fail(answer.error());
  const Json policy = member(*answer, "policy");
  const char* outcome = operation == "verify" ? "can be loaded"
                        : operation == "load" ? "loaded"
                                              : "in force in each VM that has asked for it";
  fmt::print("{} {}: {}\n", shown(policy, "name"), shown(policy, "version"), outcome);
  return kExitOk;
}

int run_policy_new(const std::string& name, const std::string& folder, const std::string& from) {
  if (!good_name(name))
    return fail(fmt::format("policy name '{}': allowed is a lower-case letter, then up to {} of a-z and 0-9", name,
                            PVSCHED_POLICY_NAME_LEN - 2),
                kExitUsage);
  const std::filesystem::path to = folder.empty() ? name : folder;
  std::error_code error;
  if (!std::filesystem::create_directories(to, error))
    return fail(to.string() + (error ? ": " + error.message() : " is there already"));
  const std::pair<const char*, std::string> files[] = {
      {"policy.bpf.c", name + ".bpf.c"}, {"policy_test.c", name + "_test.c"}, {"Makefile", "Makefile"}};
  for (const auto& [source, file] : files) {
    auto text = read_file(from + "/" + source, 1 << 16);
    if (!text) return fail(text.error());
    std::ofstream out(to / file);
    out << filled_in(filled_in(*text, "NAME_OF_POLICY", name), "@INCLUDE@", PVSCHED_INCLUDE_DIR);
    if (!out.flush()) return fail("cannot write " + (to / file).string());
  }
  fmt::print("{}: edit {}.bpf.c, then make, make test, pvschedctl policy load {}.bpf.o\n", to.string(), name, name);
  return kExitOk;
}

}  // namespace pvsched
