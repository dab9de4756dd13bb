// SPDX-License-Identifier: GPL-2.0-or-later
// Session: the tag of each vCPU. The nearest to the thread counts; of two as near, the administrator's at run time.
#include "daemon/session.h"
#include "pvsched/tags.h"

namespace pvsched {

TagValue Session::named_tag(const std::string& name) {
  if (env_.tags == nullptr) return PVS_TAG_NONE;
  auto tag = env_.tags->find(name);
  if (tag) return *tag;
  if (unknown_tags_.insert(name).second) say(LogLevel::kWarning, tag.error().text() + "; it counts as none");
  return PVS_TAG_NONE;
}

std::pair<TagValue, std::string> Session::tag_of(const Vcpu& vcpu) {
  const unsigned id = vcpu.spec.id;
  if (env_.tags != nullptr)
    if (auto tag = env_.tags->thread(vcpu.spec.tid)) return {*tag, "thread"};
  if (auto it = vcpu_tags_.find(id); it != vcpu_tags_.end()) return {it->second, "vcpu"};
  if (auto it = config_.vcpu_tags.find(id); it != config_.vcpu_tags.end())
    return {named_tag(it->second), "metadata, vcpu"};
  if (env_.tags != nullptr)
    if (auto tag = env_.tags->cgroup(vcpu.spec.tid)) return {*tag, "cgroup"};
  if (tag_) return {*tag_, "vm"};
  if (const TagValue tag = named_tag(config_.tag); tag != PVS_TAG_NONE) return {tag, "metadata, vm"};
  return {PVS_TAG_NONE, ""};
}

void Session::retag() {
  if (!vm_) return;
  for (auto& [id, vcpu] : vcpus_) {
    const TagValue before = vcpu.spec.tag;
    std::tie(vcpu.spec.tag, vcpu.tag_origin) = tag_of(vcpu);
    if (vcpu.registered && vcpu.spec.tag != before) env_.engine->set_tag(*vm_, id, vcpu.spec.tag);
  }
}

Status Session::set_tag(std::optional<unsigned> vcpu, std::optional<TagValue> tag) {
  const std::string what = vcpu ? "vCPU " + std::to_string(*vcpu) : "the VM";
  if (vcpu && tag && !vcpus_.contains(*vcpu)) return Error("there is no " + what, ENOENT);
  const bool had = vcpu ? vcpu_tags_.contains(*vcpu) : tag_.has_value();
  if (!tag && !had) return Error(what + " was given no tag by pvschedctl", ENOENT);
  if (!vcpu)
    tag_ = tag;
  else if (tag)
    vcpu_tags_[*vcpu] = *tag;
  else
    vcpu_tags_.erase(*vcpu);
  retag();
  return {};
}

std::set<pid_t> Session::vcpu_tids() const {
  std::set<pid_t> tids;
  for (const auto& [id, vcpu] : vcpus_)
    if (vcpu.registered) tids.insert(vcpu.spec.tid);
  return tids;
}

Json Session::tag_json(TagValue tag, const std::string& origin) const {
  return {{"name", env_.tags ? env_.tags->name(tag) : std::to_string(tag)}, {"value", tag}, {"origin", origin}};
}

}  // namespace pvsched
