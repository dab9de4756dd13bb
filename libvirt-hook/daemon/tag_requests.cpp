// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/tag_requests.h"

namespace pvsched {
namespace {

Result<TagSubject> subject_of(const Json& request) {
  TagSubject subject;
  subject.domain = string_member(request, "domain").value_or("");
  subject.cgroup = string_member(request, "cgroup").value_or("");
  const auto tid = int_member(request, "tid");
  const auto vcpu = int_member(request, "vcpu");
  if (int(!subject.domain.empty()) + int(!subject.cgroup.empty()) + int(tid.has_value()) != 1)
    return Error("a tag is put on one of domain, tid and cgroup", EINVAL);
  if (tid && (*tid <= 0 || *tid > INT32_MAX)) return Error("tid: allowed is 1 to " + std::to_string(INT32_MAX), EINVAL);
  if (vcpu && (subject.domain.empty() || *vcpu < 0 || *vcpu >= PVSCHED_MAX_SLOTS))
    return Error("vcpu: allowed is 0 to " + std::to_string(PVSCHED_MAX_SLOTS - 1) + ", of a domain", EINVAL);
  if (!subject.cgroup.empty() && subject.cgroup[0] != '/') return Error("cgroup: allowed is an absolute path", EINVAL);
  if (tid) subject.tid = static_cast<pid_t>(*tid);
  if (vcpu) subject.vcpu = static_cast<unsigned>(*vcpu);
  return subject;
}

Json answer(const Status& status) { return status ? Json{{"ok", true}} : failure(status.error().text()); }

}  // namespace

void do_tags(const RequestServices& services, const Json&, const ControlServer::Reply& reply) {
  const Tags& tags = services.sessions->tags();
  Json out = {{"ok", true}, {"names", Json::array()}, {"threads", Json::array()}, {"cgroups", Json::array()}};
  for (const auto& [name, tag] : tags.names()) out["names"].push_back({{"name", name}, {"value", tag}});
  for (const auto& [tid, thread] : tags.threads())
    out["threads"].push_back({{"tid", tid}, {"tag", tags.name(thread.tag)}});
  for (const auto& [path, tag] : tags.cgroups()) out["cgroups"].push_back({{"path", path}, {"tag", tags.name(tag)}});
  out["foreground_wanting"] = services.engine->foreground();
  services.sessions->status("", [out = std::move(out), reply](const Json& vms) mutable {
    out["vcpus"] = Json::array();
    for (const Json& vm : vms)
      for (const Json& vcpu : member(vm, "vcpus"))
        if (vcpu.contains("tag"))
          out["vcpus"].push_back(
              {{"domain", vm["name"]}, {"vcpu", vcpu["id"]}, {"tid", vcpu["tid"]}, {"tag", vcpu["tag"]}});
    reply(std::move(out));
  });
}

void do_tag_set(const RequestServices& services, const Json& request, const ControlServer::Reply& reply) {
  auto subject = subject_of(request);
  if (!subject) return reply(failure(subject.error().text()));
  reply(answer(services.sessions->set_tag(*subject, string_member(request, "tag").value_or(""))));
}

void do_tag_clear(const RequestServices& services, const Json& request, const ControlServer::Reply& reply) {
  auto subject = subject_of(request);
  if (!subject) return reply(failure(subject.error().text()));
  reply(answer(services.sessions->clear_tag(*subject)));
}

}  // namespace pvsched
