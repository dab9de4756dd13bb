// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/commands.h"

#include <unistd.h>

#include <climits>
#include <cstdio>
#include <iostream>
#include <iterator>

#include <fmt/format.h>

#include "common/procfs.h"
#include "ctl/client.h"
#include "ctl/diff.h"
#include "ctl/libvirt_domain.h"
#include "ctl/status_view.h"
#include "metadata/domain_config.h"

namespace pvsched {
namespace {

int fail(const Error& error) {
  fmt::print(stderr, "pvschedctl: {}\n", error.text());
  return error.code() == ENOTCONN ? kExitUnreachable : kExitFault;
}

std::string absolute(const std::string& path) {
  if (path.empty() || path[0] == '/') return path;
  char folder[PATH_MAX];
  return ::getcwd(folder, sizeof(folder)) != nullptr ? std::string(folder) + "/" + path : path;
}

Result<std::string> read_input(const std::string& path) {
  if (path != "-") return read_file(path, kMaxXmlBytes + 1);
  return std::string(std::istreambuf_iterator<char>(std::cin), {});
}

// The document to check, and what to call it.
Result<std::string> document(const CtlOptions& options, const std::string& subject) {
  if (subject == "-" || ::access(subject.c_str(), F_OK) == 0) return read_input(subject);
  if (subject.find('/') != std::string::npos) return Error("there is no file " + subject, ENOENT);
  auto connection = connect_libvirt(options.uri);
  if (!connection) return Error("there is no file '" + subject + "', and " + connection.error().text(), ENOENT);
  auto domain = find_domain(*connection, subject);
  if (!domain) return Error("there is no file and no domain '" + subject + "'", ENOENT);
  return domain_xml(*domain, true);
}

bool confirmed() {
  fmt::print("Define the domain so? [y/N] ");
  std::fflush(stdout);
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "y" || answer == "yes";
}

}  // namespace

int run_status(const CtlOptions& options, const std::string& domain, bool json) {
  Json request = {{"op", "status"}};
  if (!domain.empty()) request["domain"] = domain;
  auto answer = ask_daemon(options.socket, request, options.timeout_s * 1000);
  if (!answer) return fail(answer.error());
  if (json)
    fmt::print("{}\n", answer->dump(2, ' ', false, Json::error_handler_t::replace));
  else
    fmt::print("{}", show_status(*answer));
  const bool missing = !domain.empty() && member(*answer, "vms").empty();
  if (missing) fmt::print(stderr, "pvschedctl: no VM '{}' is served\n", domain);
  return missing ? kExitFault : kExitOk;
}

int run_simple(const CtlOptions& options, const Json& request, const std::string& success) {
  auto answer = ask_daemon(options.socket, request, options.timeout_s * 1000);
  if (!answer) return fail(answer.error());
  fmt::print("{}\n", success);
  return kExitOk;
}

int run_attach(const CtlOptions& options, const std::string& path, const std::string& name,
               const std::string& limits_file) {
  Json request = {{"op", "attach"}, {"qmp", absolute(path)}};
  if (!name.empty()) request["name"] = name;
  if (!limits_file.empty()) {
    auto limits = read_input(limits_file);
    if (!limits) return fail(limits.error());
    request["limits"] = *limits;
  }
  return run_simple(options, request, "attached " + absolute(path));
}

int run_detach(const CtlOptions& options, const std::string& path) {
  return run_simple(options, {{"op", "detach"}, {"qmp", absolute(path)}}, "detached " + absolute(path));
}

int run_validate(const CtlOptions& options, const std::string& subject) {
  auto xml = document(options, subject);
  if (!xml) return fail(Error(xml.error().text()));
  auto metadata = parse_domain_metadata(*xml, options.schema);
  if (!metadata) return fail(Error(metadata.error().in(subject).text()));
  if (!metadata->present) {
    fmt::print("{}: no pvsched element; the VM is not served\n", subject);
    return kExitOk;
  }
  for (const auto& fault : metadata->faults) fmt::print("{}: {}\n", subject, fault.text);
  if (!metadata->config) return kExitFault;
  fmt::print("{}: in order{}\n", subject, metadata->config->enabled ? "" : ", but disabled (enabled=\"no\")");
  return kExitOk;
}

int run_setup(const CtlOptions& options, SetupRequest request, const std::string& element_file) {
  if (!element_file.empty()) {
    auto element = read_input(element_file);
    if (!element) return fail(element.error());
    request.edit.element = *element;
  }
  auto connection = connect_libvirt(options.uri);
  if (!connection) return fail(connection.error());
  auto domain = find_domain(*connection, request.domain);
  if (!domain) return fail(domain.error());
  if (virDomainIsPersistent(domain->get()) != 1)
    return fail(Error("domain '" + request.domain + "' is transient: put the element into the XML it is created from"));
  auto xml = domain_xml(*domain, true);
  if (!xml) return fail(xml.error());
  auto edit = request.remove ? remove_pvsched(*xml, request.edit.qmp_socket) : add_pvsched(*xml, request.edit);
  if (!edit) return fail(edit.error());
  if (!edit->changed()) {
    fmt::print("{}: nothing to change\n", request.domain);
    return kExitOk;
  }
  if (!request.remove) {
    auto metadata = parse_domain_metadata(edit->after, options.schema);
    if (!metadata) return fail(metadata.error());
    if (!metadata->config) return fail(Error("the domain's pvsched element is wrong: " + metadata->explain()));
  }
  fmt::print("{}", unified_diff(edit->before, edit->after, request.domain));
  if (request.dry_run) return kExitOk;
  if (!request.yes && !confirmed()) {
    fmt::print("{}: left as it is\n", request.domain);
    return kExitFault;
  }
  Domain defined(virDomainDefineXMLFlags(connection->get(), edit->after.c_str(), VIR_DOMAIN_DEFINE_VALIDATE));
  if (!defined) return fail(libvirt_error("libvirt does not take the domain"));
  const bool active = virDomainIsActive(defined.get()) == 1;
  fmt::print("{}: defined; in force {}\n", request.domain,
             active ? "after the VM has been shut down and started" : "when the VM starts");
  return kExitOk;
}

}  // namespace pvsched
