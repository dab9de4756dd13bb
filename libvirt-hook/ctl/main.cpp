// SPDX-License-Identifier: GPL-2.0-or-later
#include <CLI/CLI.hpp>

#include "ctl/commands.h"
#include "ctl/policies.h"
#include "ctl/tags.h"
#include "daemon/config.h"
#include "paths.h"

namespace {

using pvsched::Json;

int run(int argc, char** argv) {
  CLI::App cli("pvschedctl shows and steers pvschedd");
  cli.require_subcommand(1);
  cli.set_version_flag("--version", PVSCHED_VERSION_TEXT);

  pvsched::CtlOptions options;
  std::string config_file = PVSCHED_CONFIG;
  cli.add_option("--config", config_file, "pvschedd's configuration, for socket, schema and libvirt URI")
      ->capture_default_str();
  cli.add_option("--socket", options.socket, "pvschedd's control socket");
  cli.add_option("--timeout", options.timeout_s, "seconds to wait for pvschedd's answer")
      ->check(CLI::Range(1, 3600))
      ->capture_default_str();
  cli.add_option("--connect", options.uri, "libvirt URI");
  cli.add_option("--schema", options.schema, "schema of the pvsched element");

  std::string domain;
  bool json = false;
  auto* status = cli.add_subcommand("status", "the daemon and the VMs it serves");
  status->add_option("DOMAIN", domain, "name or UUID");
  status->add_flag("--json", json, "as JSON, with the raw histograms");

  std::string qmp;
  std::string name;
  std::string limits;
  auto* attach = cli.add_subcommand("attach", "serve a QEMU that libvirt does not know");
  attach->add_option("--qmp", qmp, "its QMP socket")->required();
  attach->add_option("--name", name, "what to call it");
  attach->add_option("--limits", limits, "file with a pvsched element");
  auto* detach = cli.add_subcommand("detach", "end what attach began");
  detach->add_option("--qmp", qmp, "its QMP socket")->required();

  std::string subject;
  auto* validate = cli.add_subcommand("validate", "check the pvsched element of a file or a domain");
  validate->add_option("FILE|DOMAIN", subject, "a file, - for stdin, or a domain")->required();

  std::string plugin = PVSCHED_PLUGIN;
  auto* doctor = cli.add_subcommand("doctor", "check this host, and say how to mend what is wrong");
  doctor->add_flag("--json", json, "as JSON");
  doctor->add_option("--plugin", plugin, "QEMU plugin with the device")->capture_default_str();

  auto* enable = cli.add_subcommand("enable", "let the policy boost, everywhere or in one VM");
  enable->add_option("DOMAIN", domain, "name or UUID");
  auto* disable = cli.add_subcommand("disable", "hold every vCPU at its baseline, everywhere or in one VM");
  disable->add_option("DOMAIN", domain, "name or UUID");
  auto* reload = cli.add_subcommand("reload", "have pvschedd read its configuration again");

  pvsched::SetupRequest request;
  bool no_device = false;
  auto* setup = cli.add_subcommand("setup", "put pvsched into a domain's XML, or take it out");
  setup->add_option("DOMAIN", request.domain, "name or UUID")->required();
  setup->add_flag("--yes", request.yes, "do not ask");
  setup->add_flag("--dry-run", request.dry_run, "show the difference only");
  setup->add_flag("--remove", request.remove, "take out what setup put in");
  setup->add_flag("--no-device", no_device, "only the metadata element: the VM is served agentless");
  setup->add_option("--plugin", plugin, "QEMU plugin with the device")->capture_default_str();
  setup->add_option("--qmp-socket", request.edit.qmp_socket, "a QMP socket for pvschedd, in /run/pvsched/qmp");
  setup->add_option("--element", limits, "file with the pvsched element to put in");

  std::string actuator;
  auto* choose = cli.add_subcommand("actuator", "choose what carries decisions out, until pvschedd ends");
  choose->add_option("NAME", actuator, "setattr or scx")->required();
  std::string policy_name;
  std::string policy_path;
  auto* policy = cli.add_subcommand("policy", "the policies that VMs can be served by");
  policy->require_subcommand(1);
  auto* policy_list = policy->add_subcommand("list", "those that pvschedd has");
  policy_list->add_flag("--json", json, "as JSON");
  auto* policy_show = policy->add_subcommand("show", "one of them");
  policy_show->add_option("NAME", policy_name, "its name")->required();
  policy_show->add_flag("--json", json, "as JSON");
  auto* policy_verify = policy->add_subcommand("verify", "check an object without putting it in force");
  policy_verify->add_option("OBJECT", policy_path, "a .bpf.o file")->required();
  auto* policy_load = policy->add_subcommand("load", "load one more");
  policy_load->add_option("OBJECT", policy_path, "a .bpf.o file")->required();
  auto* policy_swap = policy->add_subcommand("swap", "put an object in the place of the policy of its name");
  policy_swap->add_option("OBJECT", policy_path, "a .bpf.o file")->required();
  auto* policy_new = policy->add_subcommand("new", "begin a policy: source, test and Makefile in a new folder");
  policy_new->add_option("NAME", policy_name, "its name")->required();
  policy_new->add_option("FOLDER", policy_path, "default: ./NAME");
  std::string policy_template = PVSCHED_POLICY_TEMPLATE;
  policy_new->add_option("--template", policy_template, "folder of what is copied")->capture_default_str();

  std::vector<std::string> tag_words;
  auto* tag = cli.add_subcommand("tag", "what VMs, vCPUs, threads and cgroups are to policies");
  tag->require_subcommand(1);
  auto* tag_list = tag->add_subcommand("list", "the tags that there are, and what has one");
  tag_list->add_flag("--json", json, "as JSON");
  auto* tag_set = tag->add_subcommand("set", "put a tag on something, until it ends or pvschedd does");
  tag_set->add_option("ON", tag_words, "vm DOMAIN, vcpu DOMAIN ID, thread TID or cgroup PATH, then the tag's name")
      ->required();
  auto* tag_clear = tag->add_subcommand("clear", "take it off again");
  tag_clear->add_option("ON", tag_words, "vm DOMAIN, vcpu DOMAIN ID, thread TID or cgroup PATH")->required();

  try {
    cli.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return cli.exit(error) == 0 ? pvsched::kExitOk : pvsched::kExitUsage;
  }
  const auto config = pvsched::load_config(config_file, pvsched::default_config(), false).config;
  if (options.socket.empty()) options.socket = config.socket_path();
  if (options.schema.empty()) options.schema = config.schema;
  if (options.uri.empty()) options.uri = config.libvirt_uri == "none" ? "qemu:///system" : config.libvirt_uri;

  if (*status) return run_status(options, domain, json);
  if (*attach) return run_attach(options, qmp, name, limits);
  if (*detach) return run_detach(options, qmp);
  if (*validate) return run_validate(options, subject);
  if (*doctor) return run_doctor(options, plugin, json);
  if (*reload) return run_simple(options, {{"op", "reload"}}, "configuration read");
  if (*choose) return run_simple(options, {{"op", "actuator"}, {"name", actuator}}, "actuator " + actuator);
  if (*policy_list || *policy_show) return pvsched::run_policy_list(options, policy_name, json);
  for (const auto* take : {policy_verify, policy_load, policy_swap})
    if (*take) return pvsched::run_policy_take(options, take->get_name(), policy_path);
  if (*policy_new) return pvsched::run_policy_new(policy_name, policy_path, policy_template);
  if (*tag_list) return pvsched::run_tag_list(options, json);
  for (const auto* change : {tag_set, tag_clear})
    if (*change) return pvsched::run_tag_change(options, change->get_name(), tag_words);
  if (*setup) {
    if (!no_device) request.edit.plugin = plugin;
    return run_setup(options, request, limits);
  }
  const std::string op = *enable ? "enable" : "disable";
  Json message = {{"op", op}};
  if (!domain.empty()) message["domain"] = domain;
  return run_simple(options, message, op + "d " + (domain.empty() ? "for all VMs" : domain));
}

}  // namespace

int main(int argc, char** argv) { return run(argc, argv); }
