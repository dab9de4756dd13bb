// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/requests.h"

#include <unistd.h>

#include <string_view>
#include <utility>

#include "daemon/tag_requests.h"
#include "paths.h"

namespace pvsched {
namespace {

using Reply = ControlServer::Reply;
using Op = void (*)(const RequestServices&, const Json&, const Reply&);

Json success() { return {{"ok", true}}; }
Json outcome(const Status& status) { return status ? success() : failure(status.error().text()); }
std::string text(const Json& request, const char* key) { return string_member(request, key).value_or(""); }

void do_hook(const RequestServices& services, const Json& request, const Reply& reply) {
  const auto name = string_member(request, "name");
  const auto operation = string_member(request, "operation");
  if (!name || !operation) return reply(failure("hook needs name and operation"));
  HookAnswer answer = services.sessions->hook(*name, *operation, text(request, "xml"));
  Json out = answer.ok ? success() : failure(answer.message);
  out["warnings"] = answer.warnings;
  reply(std::move(out));
  services.hook_heard();
}

void do_status(const RequestServices& services, const Json& request, const Reply& reply) {
  services.sessions->status(text(request, "domain"), [services, reply](Json vms) {
    Json out = success();
    out["version"] = PVSCHED_VERSION_TEXT;
    out["pid"] = ::getpid();
    out["enabled"] = services.engine->enabled();
    const ActuatorInfo actuator = services.engine->actuator();
    out["actuator"] = actuator.name;
    out["actuator_chosen"] = actuator.chosen;
    out["actuator_reason"] = actuator.reason;
    out["sources"] = Json::array();
    for (const auto& source : services.engine->sources())
      out["sources"].push_back({{"name", source.name}, {"available", source.available}, {"reason", source.reason}});
    out["libvirt"] = {{"uri", services.libvirt_uri},
                      {"connected", services.host != nullptr && services.host->connected()},
                      {"trouble", services.host != nullptr ? services.host->trouble() : "not in use"}};
    out["vms"] = std::move(vms);
    reply(std::move(out));
  });
}

void switch_to(const RequestServices& services, const Json& request, const Reply& reply, bool on) {
  const std::string domain = text(request, "domain");
  if (!domain.empty()) return reply(outcome(services.sessions->set_enabled(domain, on)));
  services.engine->set_enabled(on);
  reply(success());
}

void do_enable(const RequestServices& services, const Json& request, const Reply& reply) {
  switch_to(services, request, reply, true);
}

void do_disable(const RequestServices& services, const Json& request, const Reply& reply) {
  switch_to(services, request, reply, false);
}

void do_attach(const RequestServices& services, const Json& request, const Reply& reply) {
  const std::string path = text(request, "qmp");
  if (path.empty() || path[0] != '/') return reply(failure("attach needs qmp, the absolute path of a QMP socket"));
  services.sessions->attach(path, text(request, "name"), text(request, "limits"),
                            [reply](const Status& status) { reply(outcome(status)); });
}

void do_detach(const RequestServices& services, const Json& request, const Reply& reply) {
  reply(outcome(services.sessions->detach(text(request, "qmp"))));
}

Json to_json(const PolicyInfo& info) {
  return {{"name", info.name}, {"version", info.version}, {"summary", info.summary},
          {"path", info.path}, {"trust", info.trust},     {"refused", info.refused}};
}

void do_policies(const RequestServices& services, const Json&, const Reply& reply) {
  Json out = success();
  out["policies"] = Json::array();
  for (const auto& info : services.engine->policies()) out["policies"].push_back(to_json(info));
  reply(std::move(out));
}

using TakePolicy = void (Engine::*)(const std::string& path, Engine::PolicyDone done);

void take_policy(const RequestServices& services, const Json& request, const Reply& reply, TakePolicy take) {
  const std::string path = text(request, "path");
  if (path.empty() || path[0] != '/') return reply(failure("path is needed, the absolute path of a policy object"));
  (services.engine->*take)(path, [reply](const Result<PolicyInfo>& info) {
    if (!info) return reply(failure(info.error().text()));
    Json out = success();
    out["policy"] = to_json(*info);
    reply(std::move(out));
  });
}

void do_policy_load(const RequestServices& services, const Json& request, const Reply& reply) {
  take_policy(services, request, reply, &Engine::load_policy);
}

void do_policy_swap(const RequestServices& services, const Json& request, const Reply& reply) {
  take_policy(services, request, reply, &Engine::swap_policy);
}

void do_policy_verify(const RequestServices& services, const Json& request, const Reply& reply) {
  take_policy(services, request, reply, &Engine::verify_policy);
}

void do_actuator(const RequestServices& services, const Json& request, const Reply& reply) {
  reply(outcome(services.engine->choose_actuator(text(request, "name"))));
}

void do_reload(const RequestServices& services, const Json&, const Reply& reply) { reply(outcome(services.reload())); }

void do_ping(const RequestServices&, const Json&, const Reply& reply) {
  Json out = success();
  out["version"] = PVSCHED_VERSION_TEXT;
  reply(std::move(out));
}

constexpr std::pair<std::string_view, Op> kOperations[] = {{"hook", do_hook},
                                                           {"status", do_status},
                                                           {"enable", do_enable},
                                                           {"disable", do_disable},
                                                           {"attach", do_attach},
                                                           {"detach", do_detach},
                                                           {"reload", do_reload},
                                                           {"ping", do_ping},
                                                           {"actuator", do_actuator},
                                                           {"policies", do_policies},
                                                           {"policy-load", do_policy_load},
                                                           {"policy-swap", do_policy_swap},
                                                           {"policy-verify", do_policy_verify},
                                                           {"tags", do_tags},
                                                           {"tag-set", do_tag_set},
                                                           {"tag-clear", do_tag_clear}};

}  // namespace

ControlServer::Handler make_request_handler(RequestServices services) {
  return [services = std::move(services)](const Json& request, const Reply& reply) {
    const auto op = string_member(request, "op");
    if (!op) return reply(failure("a request is an object with \"op\""));
    for (const auto& [name, run] : kOperations)
      if (name == *op) return run(services, request, reply);
    reply(failure("unknown op '" + printable(*op, 40) + "'"));
  };
}

}  // namespace pvsched
