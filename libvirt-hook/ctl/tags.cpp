// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/tags.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>

#include <fmt/format.h>

#include "ctl/client.h"
#include "ctl/status_view.h"

namespace pvsched {
namespace {

int fail(const Error& error) {
  fmt::print(stderr, "pvschedctl: {}\n", error.text());
  return error.code() == ENOTCONN ? kExitUnreachable : error.code() == EINVAL ? kExitUsage : kExitFault;
}

std::string shown(const Json& value, const char* key) {
  const Json& found = member(value, key);
  return found.is_string() ? printable(found.get<std::string>(), 300) : found.dump();
}

Result<std::int64_t> whole_number(const std::string& what, const std::string& text) {
  std::int64_t number = 0;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (code != std::errc() || end != text.data() + text.size())
    return Error(what + " '" + printable(text, 40) + "': allowed is a whole number", EINVAL);
  return number;
}

// The request's subject. Errors: EINVAL with what is allowed.
Result<Json> subject_of(const std::vector<std::string>& words) {
  const std::string& kind = words[0];
  if (kind == "vm" && words.size() == 2) return Json{{"domain", words[1]}};
  if (kind == "cgroup" && words.size() == 2) return Json{{"cgroup", std::filesystem::absolute(words[1]).string()}};
  if (kind == "thread" && words.size() == 2) {
    auto tid = whole_number("TID", words[1]);
    if (!tid) return tid.error();
    return Json{{"tid", *tid}};
  }
  if (kind == "vcpu" && words.size() == 3) {
    auto id = whole_number("vCPU", words[2]);
    if (!id) return id.error();
    return Json{{"domain", words[1]}, {"vcpu", *id}};
  }
  return Error("a tag is put on: vm DOMAIN, vcpu DOMAIN ID, thread TID, or cgroup PATH", EINVAL);
}

}  // namespace

int run_tag_list(const CtlOptions& options, bool json) {
  auto answer = ask_daemon(options.socket, {{"op", "tags"}}, options.timeout_s * 1000);
  if (!answer) return fail(answer.error());
  if (json) {
    answer->erase("ok");
    fmt::print("{}\n", answer->dump(2));
    return kExitOk;
  }
  std::vector<std::vector<std::string>> rows{{"NAME", "NUMBER"}};
  for (const Json& name : member(*answer, "names")) rows.push_back({shown(name, "name"), shown(name, "value")});
  fmt::print("{}", show_table(rows, ""));
  rows = {{"ON", "", "TAG", "BY"}};
  for (const Json& vcpu : member(*answer, "vcpus")) {
    const Json& tag = member(vcpu, "tag");
    rows.push_back(
        {"vcpu", shown(vcpu, "domain") + " " + shown(vcpu, "vcpu"), shown(tag, "name"), shown(tag, "origin")});
  }
  for (const Json& thread : member(*answer, "threads"))
    rows.push_back({"thread", shown(thread, "tid"), shown(thread, "tag"), "thread"});
  for (const Json& cgroup : member(*answer, "cgroups"))
    rows.push_back({"cgroup", shown(cgroup, "path"), shown(cgroup, "tag"), "cgroup"});
  if (rows.size() > 1) fmt::print("\n{}", show_table(rows, ""));
  fmt::print("\nforeground threads that want a CPU now: {}\n", shown(*answer, "foreground_wanting"));
  return kExitOk;
}

int run_tag_change(const CtlOptions& options, const std::string& operation, const std::vector<std::string>& words) {
  const bool set = operation == "set";
  if (words.size() < (set ? 3u : 2u)) return fail(Error("tag " + operation + ": see pvschedctl(1)", EINVAL));
  auto subject = subject_of({words.begin(), words.end() - (set ? 1 : 0)});
  if (!subject) return fail(subject.error());
  Json request = *subject;
  request["op"] = "tag-" + operation;
  if (set) request["tag"] = words.back();
  auto answer = ask_daemon(options.socket, request, options.timeout_s * 1000);
  return answer ? kExitOk : fail(answer.error());
}

}  // namespace pvsched
