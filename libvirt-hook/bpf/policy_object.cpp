// SPDX-License-Identifier: GPL-2.0-or-later
#include "bpf/policy_object.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstring>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "common/clock.h"
#include "maps.h"
#include "scx/scx.h"

namespace pvsched {
namespace {

template <typename T>
T* map_array(int fd, std::size_t count) {
  void* at = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return at == MAP_FAILED ? nullptr : static_cast<T*>(at);
}

}  // namespace

Result<std::unique_ptr<Policy>> Policy::load(const std::string& framework, std::vector<PolicyFile> policies) {
  std::unique_ptr<Policy> policy(new Policy());
  policy->framework_ = framework;
  policy->filter_count_.resize(PVS_FILTER_WORDS * 64);
  policy->vms_.resize(PVS_MAX_VMS);
  policy->vcpus_.resize(PVS_MAX_VCPUS);
  if (policies.size() > PVS_POLICY_SLOTS)
    return Error(std::to_string(policies.size()) + " policies: allowed are " + std::to_string(PVS_POLICY_SLOTS));
  auto sources = probe_sources(framework);
  if (!sources) return sources.error();
  policy->sources_ = sources.take();
  policy->policies_ = std::move(policies);
  policy->policies_.resize(PVS_POLICY_SLOTS);
  PolicyChange first = policy->begin_change();
  if (auto status = first.prepare(); !status) return status.error();
  policy->states_ = std::move(first.states);
  policy->set_ = std::move(first.next);
  if (auto status = policy->map_shared(); !status) return status.error();
  return policy;
}

Policy::~Policy() {
  set_.reset();
  ring_buffer__free(ring_);
  if (globals_) munmap(globals_, sizeof(pvs_globals));
  if (mailboxes_) munmap(mailboxes_, PVS_MAX_VCPUS * sizeof(pvs_mailbox));
  if (stats_) munmap(stats_, PVS_MAX_VCPUS * sizeof(pvs_stats));
  if (scx_report_) munmap(scx_report_, sizeof(pvs_scx_report));
}

PolicyChange Policy::begin_change() const {
  PolicyChange change;
  change.framework = framework_;
  change.sources = sources_;
  change.policies = policies_;
  change.states = states_;
  change.current = set_;
  change.attach = set_ && set_->attached();
  return change;
}

Status Policy::map_shared() {
  vcpus_fd_ = set_->map("vcpus");
  apics_fd_ = set_->map("apics");
  limits_fd_ = set_->map("limits");
  guest_areas_fd_ = set_->map("guest_areas");
  host_areas_fd_ = set_->map("host_areas");
  others_fd_ = set_->map("others");
  preferences_fd_ = set_->map("preferences");
  if (globals_) return {};
  mailboxes_ = map_array<pvs_mailbox>(set_->map("mailboxes"), PVS_MAX_VCPUS);
  stats_ = map_array<pvs_stats>(set_->map("stats"), PVS_MAX_VCPUS);
  scx_report_ = map_array<pvs_scx_report>(set_->map("scx_report"), 1);
  if (!mailboxes_ || !stats_ || !scx_report_) return Error::system("cannot map the policy's mailboxes");
  if (set_->value_size(".bss") != sizeof(pvs_globals))
    return Error("the policy object is of another version than this program");
  globals_ = map_array<pvs_globals>(set_->map(".bss"), 1);
  if (!globals_) return Error::system("cannot map the policy's globals");
  ring_ = ring_buffer__new(set_->map("ring"), record_callback, this, nullptr);
  if (!ring_) return Error::system("cannot open the policy's ring buffer");
  globals_->active = set_->generation();
  globals_->enabled = 1;
  return {};
}

Status Policy::finish_change(PolicyChange& change) {
  if (!set_->attached()) {
    change.next->detach();
  } else if (!change.next->attached()) {  // the first vCPU came meanwhile
    if (auto status = change.next->attach(sources_); !status) return status.error();
  }
  policies_ = std::move(change.policies);
  states_ = std::move(change.states);
  take_over(std::move(change.next));
  stopped_[change.slot].clear();
  conduct_ = conduct();
  return {};
}

// The old programs come first at each event: whichever of the two finds itself active there, one does. What a timer
// of the old ones let pass in between is made up for by a look at each vCPU.
void Policy::take_over(std::shared_ptr<ProgramSet> next) {
  __atomic_store_n(&globals_->active, next->generation(), __ATOMIC_SEQ_CST);
  set_ = std::move(next);
  (void)map_shared();  // nothing of it can fail: all is mapped
  for (unsigned index = 0; index < vcpus_.size(); ++index)
    if (vcpus_[index]) evaluate(index);
}

std::array<Policy::Conduct, PVS_POLICY_SLOTS> Policy::conduct() const {
  std::array<Conduct, PVS_POLICY_SLOTS> out;
  for (unsigned index = 0; index < vcpus_.size(); ++index) {
    if (!vcpus_[index]) continue;
    const pvs_stats& stats = stats_[index];
    Conduct& sum = out[vms_[vcpus_[index]->vm].slot];
    sum.events += stats.events;
    sum.refused += stats.refused_wishes;
    sum.calls += stats.policy_calls;
    sum.ns += stats.policy_ns;
  }
  return out;
}

// What a policy's conduct since `was` has against it; empty: nothing.
std::string Policy::fault_in(const Conduct& was, const Conduct& is) {
  constexpr std::uint64_t kLongNs = 20000;
  const std::uint64_t events = is.events - was.events, refused = is.refused - was.refused;
  const std::uint64_t calls = is.calls - was.calls, ns = calls ? (is.ns - was.ns) / calls : 0;
  if (refused * 2 > events)
    return std::to_string(refused) + " of its last " + std::to_string(events) + " wishes were of no class";
  if (ns > kLongNs) return "its calls take " + std::to_string(ns) + " ns; allowed are " + std::to_string(kLongNs);
  return "";
}

std::vector<std::string> Policy::stop_misbehaving() {
  constexpr std::uint64_t kEnoughEvents = 512;  // some calls among them are timed
  std::vector<std::string> sentences;
  const auto now = conduct();
  for (unsigned slot = 1; slot < PVS_POLICY_SLOTS; ++slot) {
    const bool fewer = now[slot].events < conduct_[slot].events;  // a vCPU went, or has another policy
    if (!fewer && now[slot].events - conduct_[slot].events < kEnoughEvents) continue;
    const std::string why = fewer ? "" : fault_in(conduct_[slot], now[slot]);
    conduct_[slot] = now[slot];
    if (why.empty()) continue;
    stopped_[slot] = "policy '" + policies_[slot].name + "' was stopped: " + why;
    sentences.push_back(stopped_[slot]);
    for (VmId vm = 0; vm < vms_.size(); ++vm) {
      pvs_limits limits;
      if (vms_[vm].used && vms_[vm].slot == slot && bpf_map_lookup_elem(limits_fd_, &vm, &limits) == 0)
        (void)set_limits(vm, limits, policies_[0].name);
    }
  }
  return sentences;
}

std::map<std::string, int> Policy::scheduler_maps() const {
  std::map<std::string, int> maps{{"pvsched.bss", set_->map(".bss")}};
  for (const char* name : {"vcpus", "mailboxes", "preferences", "scx_cpus", "scx_places", "scx_report"})
    maps[name] = set_->map(name);
  return maps;
}

bool Policy::in_scheduler() const { return __atomic_load_n(&scx_report_->attached, __ATOMIC_ACQUIRE) != 0; }

int Policy::ring_fd() const { return ring_buffer__epoll_fd(ring_); }

void Policy::consume() { ring_buffer__consume(ring_); }

int Policy::record_callback(void* self, void* data, std::size_t size) {
  if (size >= sizeof(pvs_record)) static_cast<Policy*>(self)->sink_(static_cast<pvs_record*>(data)->index);
  return 0;
}

void Policy::set_enabled(bool on) {
  __atomic_store_n(&globals_->enabled, on ? 1u : 0u, __ATOMIC_RELEASE);
  for (unsigned index = 0; index < vcpus_.size(); ++index)
    if (vcpus_[index]) evaluate(index);
}

bool Policy::enabled() const { return globals_->enabled != 0; }

void Policy::filter(unsigned id, int step) {
  unsigned bit = id % filter_count_.size();
  filter_count_[bit] = static_cast<std::uint16_t>(filter_count_[bit] + step);
  std::uint64_t mask = 1ull << (bit % 64);
  if (filter_count_[bit])
    __atomic_or_fetch(&globals_->filter[bit / 64], mask, __ATOMIC_RELEASE);
  else
    __atomic_and_fetch(&globals_->filter[bit / 64], ~mask, __ATOMIC_RELEASE);
}

Result<VmId> Policy::add_vm(pid_t pid, const pvs_limits& limits, const std::string& policy) {
  auto free = std::find_if(vms_.begin(), vms_.end(), [](const Vm& vm) { return !vm.used; });
  if (free == vms_.end()) return Error("all " + std::to_string(PVS_MAX_VMS) + " VM entries of the policy are taken");
  VmId vm = static_cast<VmId>(free - vms_.begin());
  *free = Vm{true, pid};
  if (auto status = set_limits(vm, limits, policy); !status) {
    free->used = false;
    return status.error();
  }
  return vm;
}

Status Policy::set_limits(VmId vm, pvs_limits limits, const std::string& policy) {
  auto slot = std::find_if(policies_.begin(), policies_.end(), [&](const PolicyFile& p) { return p.name == policy; });
  if (slot == policies_.end()) return Error("policy '" + policy + "' is not loaded");
  const auto number = static_cast<unsigned>(slot - policies_.begin());
  if (!stopped_[number].empty()) return Error(stopped_[number]);
  limits.policy = static_cast<__u8>(number);
  if (bpf_map_update_elem(limits_fd_, &vm, &limits, BPF_ANY)) return Error::system("cannot set the VM's limits");
  vms_[vm].slot = number;
  conduct_ = conduct();
  for (unsigned index = 0; index < vcpus_.size(); ++index)
    if (vcpus_[index] && vcpus_[index]->vm == vm) evaluate(index);
  return {};
}

void Policy::remove_vm(VmId vm) {
  for (unsigned index = 0; index < vcpus_.size(); ++index)
    if (vcpus_[index] && vcpus_[index]->vm == vm) remove_vcpu(index);
  drop_areas(vm);
  vms_[vm].used = false;
}

Result<AreaFds> Policy::create_areas(VmId vm, unsigned slots) {
  static_assert(PVSCHED_PAGE_SIZE % PVSCHED_SLOT_SIZE == 0, "slots fill whole pages");
  if (slots == 0 || slots > PVSCHED_MAX_SLOTS)
    return Error("areas for " + std::to_string(slots) + " slots: allowed are 1 to " +
                 std::to_string(PVSCHED_MAX_SLOTS));
  auto entries = static_cast<unsigned>(PVSCHED_AREA_SIZE(slots) / PVSCHED_SLOT_SIZE);
  LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE | BPF_F_INNER_MAP);
  auto create = [&](const char* name) {
    return Fd(bpf_map_create(BPF_MAP_TYPE_ARRAY, name, sizeof(__u32), PVSCHED_SLOT_SIZE, entries, &options));
  };
  AreaFds areas{create("pvsched_guest"), create("pvsched_host"), slots};
  if (!areas.guest || !areas.host) return Error::system("cannot create the VM's areas");
  int guest = areas.guest.get(), host = areas.host.get();
  if (bpf_map_update_elem(guest_areas_fd_, &vm, &guest, BPF_ANY) ||
      bpf_map_update_elem(host_areas_fd_, &vm, &host, BPF_ANY)) {
    Error error = Error::system("cannot put the VM's areas in force");
    drop_areas(vm);
    return error;
  }
  for (unsigned index = 0; index < vcpus_.size(); ++index)
    if (vcpus_[index] && vcpus_[index]->vm == vm) evaluate(index);
  return areas;
}

void Policy::drop_areas(VmId vm) {
  bpf_map_delete_elem(guest_areas_fd_, &vm);
  bpf_map_delete_elem(host_areas_fd_, &vm);
  for (unsigned index = 0; index < vcpus_.size(); ++index)
    if (vcpus_[index] && vcpus_[index]->vm == vm) evaluate(index);
}

Status Policy::run_control(pid_t tid, unsigned what) {
  globals_->control_tid = static_cast<__u32>(tid);
  globals_->control_what = what;
  auto result = set_->run_control();
  if (!result) return result.error();
  if (*result == 2) return Error("the kernel gives no timer for thread " + std::to_string(tid));
  if (*result != 0) return Error("thread " + std::to_string(tid) + " is not under the policy");
  return {};
}

void Policy::update_only_vcpu(VmId vm) {
  pvs_apic_key key{static_cast<__u32>(vms_[vm].pid), PVS_APIC_ONLY};
  bpf_map_delete_elem(apics_fd_, &key);
  if (vms_[vm].vcpus != 1) return;
  for (const auto& vcpu : vcpus_)
    if (vcpu && vcpu->vm == vm) bpf_map_update_elem(apics_fd_, &key, &vcpu->spec.tid, BPF_ANY);
}

Result<unsigned> Policy::reserve_vcpu() {
  auto free = std::find(vcpus_.begin(), vcpus_.end(), nullptr);
  if (free == vcpus_.end())
    return Error("all " + std::to_string(PVS_MAX_VCPUS) + " vCPU entries of the policy are taken");
  auto index = static_cast<unsigned>(free - vcpus_.begin());
  std::memset(&mailboxes_[index], 0, sizeof(mailboxes_[index]));
  std::memset(&stats_[index], 0, sizeof(stats_[index]));
  const pvs_scx_place none{};
  bpf_map_update_elem(set_->map("scx_places"), &index, &none, BPF_ANY);
  return index;
}

Status Policy::add_vcpu(VmId vm, unsigned index, const VcpuSpec& spec) {
  if (!set_->attached())
    if (auto status = attach(); !status) return status.error();
  pvs_limits limits;
  if (bpf_map_lookup_elem(limits_fd_, &vm, &limits)) return Error::system("cannot read the VM's limits");

  pvs_vcpu record{};
  record.index = index;
  record.vm = vm;
  record.slot = spec.id;
  record.run = PVS_RUN_RUNNING;
  pvs_machine_init(&record.machine, &limits, monotonic_ns());
  pvs_apic_key key{static_cast<__u32>(vms_[vm].pid), spec.apic_id};
  if (bpf_map_update_elem(vcpus_fd_, &spec.tid, &record, BPF_NOEXIST))
    return Error::system("cannot put thread " + std::to_string(spec.tid) + " under the policy");
  mailboxes_[index].tag = spec.tag;
  mailboxes_[index].tid = static_cast<__u32>(spec.tid);
  vcpus_[index] = std::make_unique<Vcpu>(Vcpu{vm, spec, vms_[vm].pid});
  ++vms_[vm].vcpus;
  bpf_map_update_elem(apics_fd_, &key, &spec.tid, BPF_ANY);
  update_only_vcpu(vm);
  filter(static_cast<unsigned>(spec.tid), 1);
  filter(static_cast<unsigned>(vms_[vm].pid), 1);
  if (auto status = run_control(spec.tid, PVS_CONTROL_INIT); !status) {
    remove_vcpu(index);
    return status.error();
  }
  return {};
}

void Policy::remove_vcpu(unsigned index) {
  Vcpu& vcpu = *vcpus_[index];
  filter(static_cast<unsigned>(vcpu.spec.tid), -1);
  filter(static_cast<unsigned>(vcpu.tgid), -1);
  set_tag(index, PVS_TAG_NONE);  // counted no more
  mailboxes_[index].tid = 0;
  bpf_map_delete_elem(vcpus_fd_, &vcpu.spec.tid);
  pvs_apic_key key{static_cast<__u32>(vcpu.tgid), vcpu.spec.apic_id};
  bpf_map_delete_elem(apics_fd_, &key);
  set_preference(index, {});
  VmId vm = vcpu.vm;
  clear_host_slot(vm, vcpu.spec.id);
  vcpus_[index].reset();
  --vms_[vm].vcpus;
  update_only_vcpu(vm);
  if (std::all_of(vcpus_.begin(), vcpus_.end(), [](const auto& v) { return !v; })) set_->detach();
}

void Policy::set_tag(unsigned index, std::uint32_t tag) {
  if (mailboxes_[index].tag == tag) return;
  mailboxes_[index].tag = tag;
  evaluate(index);
}

void Policy::set_preference(unsigned index, const CpuSet& cpus) {
  static_assert(sizeof(pvs_preference) == sizeof(cpus.words), "one layout on both sides");
  if (cpus.empty())
    bpf_map_delete_elem(preferences_fd_, &index);
  else
    bpf_map_update_elem(preferences_fd_, &index, cpus.words.data(), BPF_ANY);
}

// What was counted before the programs were detached is of that time: each thread is counted from its next event on.
Status Policy::attach() {
  for (auto& node : globals_->nodes) node.wanting = 0;
  const pvs_presence fresh{PVS_TAG_FOREGROUND, 0, 0, 0};
  for (pid_t tid : others_) bpf_map_update_elem(others_fd_, &tid, &fresh, BPF_ANY);
  return set_->attach(sources_);
}

Status Policy::count_other(pid_t tid) {
  const pvs_presence fresh{PVS_TAG_FOREGROUND, 0, 0, 0};
  if (bpf_map_update_elem(others_fd_, &tid, &fresh, BPF_NOEXIST))
    return Error::system("cannot count thread " + std::to_string(tid));
  others_.insert(tid);
  filter(static_cast<unsigned>(tid), 1);
  return {};
}

void Policy::forget_other(pid_t tid) {
  if (others_.erase(tid) == 0) return;
  filter(static_cast<unsigned>(tid), -1);
  (void)run_control(tid, PVS_CONTROL_FORGET);
}

unsigned Policy::foreground() const {
  unsigned sum = 0;
  for (const auto& node : globals_->nodes) sum += __atomic_load_n(&node.wanting, __ATOMIC_RELAXED);
  return sum;
}

// What is under the policy no more has no state and no place.
void Policy::clear_host_slot(VmId vm, unsigned slot) {
  __u32 id = 0;
  if (bpf_map_lookup_elem(host_areas_fd_, &vm, &id)) return;
  const Fd area(bpf_map_get_fd_by_id(id));
  const pvsched_host_slot empty{};
  bpf_map_update_elem(area.get(), &slot, &empty, BPF_ANY);
}

void Policy::evaluate(unsigned index) {
  // A thread that has exited is not found any more: nothing to evaluate.
  (void)run_control(vcpus_[index]->spec.tid, PVS_CONTROL_EVALUATE);
}

}  // namespace pvsched
