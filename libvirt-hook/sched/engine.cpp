// SPDX-License-Identifier: GPL-2.0-or-later
#include "sched/engine.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/mman.h>

#include <algorithm>
#include <map>

#include "bpf/policy_library.h"
#include "bpf/policy_object.h"
#include "decide.h"
#include "sched/actuator.h"
#include "sched/affinity.h"
#include "sched/baselines.h"
#include "sched/group_weight.h"
#include "sched/guardian.h"
#include "sched/policy_changes.h"
#include "sched/rt_group.h"
#include "sched/scx.h"

namespace pvsched {
namespace {

// An earlier pvschedd's guardian holds the table's lock until it has restored everything.
Status settle_earlier(const std::string& path) {
  auto table = Baselines::open(path);
  if (!table) return {};  // none, or of another version: its own guardian deals with it
  for (int turn = 0; flock(table->fd(), LOCK_EX | LOCK_NB) != 0; ++turn) {
    if (turn == 400) return Error("an earlier pvsched-guardian still holds " + path);
    poll(nullptr, 0, 5);
  }
  if (restore_all(**table, true) != 0) return Error("threads in " + path + " could not be restored");
  return {};
}

// Nothing is served without it; why not is what was said of its file, if there is one.
Error no_default(const std::vector<PolicyInfo>& refused) {
  const std::string name(kDefaultPolicy);
  std::string why;
  for (const PolicyInfo& info : refused)
    if (why.empty() || info.path.ends_with("/" + name + ".bpf.o")) why = "; " + info.refused;
  return Error("the default policy '" + name + "' is in none of the policies' folders" + why);
}

std::string end_of(const Scx& scx) { return "the kernel has ended the scheduler: " + scx.state().reason; }

class EngineImpl final : public Engine {
 public:
  explicit EngineImpl(const EngineOptions& options) : options_(options) {}
  ~EngineImpl() override;

  Status open();
  Result<VmId> add_vm(pid_t pid, const pvs_limits& limits, const std::string& policy) override;
  Result<AreaFds> create_areas(VmId vm, unsigned slots) override { return policy_->create_areas(vm, slots); }
  void drop_areas(VmId vm) override { policy_->drop_areas(vm); }
  Status set_limits(VmId vm, const pvs_limits& limits, const std::string& policy) override {
    return policy_->set_limits(vm, limits, policy);
  }
  Status add_vcpu(VmId vm, const VcpuSpec& spec) override;
  void remove_vcpu(VmId vm, unsigned id) override;
  void remove_vm(VmId vm) override;
  void set_tag(VmId vm, unsigned id, std::uint32_t tag) override;
  Result<CpuSet> place(VmId vm, unsigned id, const CpuSet& prefer) override;
  Status set_class(VmId vm, pid_t tid, std::uint64_t start_time, std::uint32_t body) override;
  void clear_class(VmId vm, pid_t tid) override;
  Status count_other(pid_t tid) override { return policy_->count_other(tid); }
  void forget_other(pid_t tid) override { policy_->forget_other(tid); }
  unsigned foreground() const override { return policy_->foreground(); }
  void set_enabled(bool on) override { policy_->set_enabled(on); }
  bool enabled() const override { return policy_->enabled(); }
  std::vector<PolicyInfo> policies() const override;
  void load_policy(const std::string& path, PolicyDone done) override {
    changes_->take(PolicyChanges::Kind::kLoad, path, std::move(done));
  }
  void swap_policy(const std::string& path, PolicyDone done) override {
    changes_->take(PolicyChanges::Kind::kSwap, path, std::move(done));
  }
  void verify_policy(const std::string& path, PolicyDone done) override {
    changes_->take(PolicyChanges::Kind::kVerify, path, std::move(done));
  }
  std::vector<std::string> stop_misbehaving() override { return policy_->stop_misbehaving(); }
  std::vector<SourceInfo> sources() const override { return policy_->sources(); }
  ActuatorInfo actuator() const override;
  Status choose_actuator(const std::string& name) override;
  void watch_actuator() override;
  Result<VmStatus> status(VmId vm) const override;

 private:
  struct Vcpu {
    VcpuSpec spec;
    unsigned index = 0;
    RtMode mode = RtMode::kRealtime;
    std::vector<unsigned> funds;
  };
  struct Vm {
    std::string rt_reason;
    std::map<unsigned, Vcpu> vcpus;
    std::map<pid_t, Vcpu> classed;  ///< index is the table's, in `classed`
  };

  bool any_vcpu() const;
  Status load_scx();
  void start_scx();
  void stop_idle_scx();
  bool scx_ended() const;
  std::string table_path() const { return options_.run_dir + "/baselines"; }
  RtMode choose_mode(Vm& vm, Vcpu& vcpu);
  void give_back_all(Vcpu& vcpu);

  EngineOptions options_;
  std::unique_ptr<Baselines> baselines_;
  std::unique_ptr<Guardian> guardian_;
  std::unique_ptr<Policy> policy_;
  std::unique_ptr<PolicyChanges> changes_;
  std::vector<PolicyInfo> refused_;
  std::unique_ptr<Actuator> actuator_;
  std::unique_ptr<Scx> scx_;  ///< none where it is not chosen or cannot be had
  std::string scx_reason_;  ///< why it cannot
  std::map<VmId, Vm> vms_;
  std::vector<unsigned> owed_;  ///< funds that the kernel would not take back yet
};

Status EngineImpl::open() {
  if (auto status = settle_earlier(table_path()); !status) return status.error();
  auto library = read_library(options_.policies, options_.trust);
  refused_ = std::move(library.refused);
  if (library.policies.empty() || library.policies.front().name != kDefaultPolicy) return no_default(refused_);
  auto policy = Policy::load(options_.bpf_object, std::move(library.policies));
  if (!policy) return policy.error();
  policy_ = policy.take();
  changes_ = std::make_unique<PolicyChanges>(*policy_, options_.trust);
  auto baselines = Baselines::create(table_path(), options_.lease_ms);
  if (!baselines) return baselines.error();
  baselines_ = std::make_unique<Baselines>(baselines.take());
  auto guardian = Guardian::start(options_.guardian, *baselines_);
  if (!guardian) return guardian.error();
  guardian_ = std::make_unique<Guardian>(guardian.take());
  auto actuator = Actuator::start(*policy_, *baselines_, *guardian_, options_.actuator_priority);
  if (!actuator) return actuator.error();
  actuator_ = actuator.take();
  if (options_.actuator == kScx) (void)load_scx();
  return {};
}

EngineImpl::~EngineImpl() {
  while (!vms_.empty()) remove_vm(vms_.begin()->first);
  scx_.reset();
  actuator_.reset();
  if (baselines_) unlink(table_path().c_str());  // the guardian finds its table empty and ends with us
}

bool EngineImpl::any_vcpu() const {
  return std::any_of(vms_.begin(), vms_.end(), [](const auto& vm) { return !vm.second.vcpus.empty(); });
}

// Loaded at once, so that the kernel's answer is known early.
Status EngineImpl::load_scx() {
  ScxOptions options;
  options.object = options_.scheduler;
  options.sys = options_.sys;
  scx_.reset();
  auto scx = Scx::load(options, policy_->scheduler_maps());
  scx_reason_ = scx ? "" : scx.error().text();
  if (!scx) return scx.error();
  scx_ = scx.take();
  return {};
}

// In force while there is a vCPU. What failed once is not tried again by itself: the administrator decides.
void EngineImpl::start_scx() {
  if (!scx_ || scx_->started()) return;
  if (auto status = scx_->start(); !status) {
    scx_reason_ = status.error().text();
    scx_.reset();
  }
}

void EngineImpl::stop_idle_scx() {
  if (scx_ && !any_vcpu()) scx_->stop();
}

bool EngineImpl::scx_ended() const { return scx_ && scx_->started() && !scx_->state().attached; }

ActuatorInfo EngineImpl::actuator() const {
  if (scx_ended()) return {kSetattr, options_.actuator, end_of(*scx_)};
  return {scx_ ? kScx : kSetattr, options_.actuator, scx_reason_};
}

Status EngineImpl::choose_actuator(const std::string& name) {
  if (name != kSetattr && name != kScx) return Error("actuator '" + name + "': allowed are setattr and scx", EINVAL);
  options_.actuator = name;
  if (name == kSetattr) {
    scx_.reset();
    scx_reason_.clear();
    return {};
  }
  if (scx_ && !scx_ended()) return {};
  if (auto status = load_scx(); !status) return status;
  if (any_vcpu()) start_scx();
  return scx_ ? Status() : Error(scx_reason_);
}

void EngineImpl::watch_actuator() {
  if (policy_->in_scheduler()) actuator_->look_for_foreign();
  if (!scx_ended()) return;
  scx_reason_ = end_of(*scx_);
  scx_.reset();
}

std::vector<PolicyInfo> EngineImpl::policies() const {
  std::vector<PolicyInfo> out;
  for (unsigned slot = 0; slot < policy_->policies().size(); ++slot) {
    if (policy_->policies()[slot].name.empty()) continue;
    out.push_back(info_of(policy_->policies()[slot]));
    out.back().refused = policy_->stopped(slot);
  }
  out.insert(out.end(), refused_.begin(), refused_.end());
  return out;
}

Result<VmId> EngineImpl::add_vm(pid_t pid, const pvs_limits& limits, const std::string& policy) {
  auto vm = policy_->add_vm(pid, limits, policy);
  if (!vm) return vm;
  vms_[*vm] = Vm{};
  WeightEntry& weight = (*baselines_)->weights[*vm];
  const RtGroups roots{options_.proc, options_.cgroup};
  if (const std::string group = weight_group_of(roots, pid); !group.empty()) note_weight(group, weight);
  return vm;
}

RtMode EngineImpl::choose_mode(Vm& vm, Vcpu& vcpu) {
  RtGroups roots{options_.proc, options_.cgroup};
  if (!needs_funds(roots, vcpu.spec.tid)) return RtMode::kRealtime;
  if (auto status = fund(roots, {vcpu.spec.tid}, **baselines_, vcpu.funds); !status) {
    vm.rt_reason = status.error().text();
    return RtMode::kFair;
  }
  vm.rt_reason = "real-time run time was given to " + rt_group_of(roots, vcpu.spec.tid);
  return RtMode::kFunded;
}

void EngineImpl::give_back_all(Vcpu& vcpu) {
  std::vector<unsigned> refused;
  owed_.insert(owed_.end(), vcpu.funds.begin(), vcpu.funds.end());
  std::sort(owed_.begin(), owed_.end());
  for (auto fund = owed_.rbegin(); fund != owed_.rend(); ++fund)
    if (!give_back((*baselines_)->funds[*fund])) refused.push_back(*fund);
  owed_ = refused;  // tried again with the next vCPU that goes
}

Status EngineImpl::add_vcpu(VmId id, const VcpuSpec& spec) {
  Vm& vm = vms_.at(id);
  if (vm.vcpus.count(spec.id)) return Error("vCPU " + std::to_string(spec.id) + " is there already", EEXIST);
  start_scx();
  Vcpu vcpu;
  vcpu.spec = spec;
  vcpu.mode = choose_mode(vm, vcpu);
  auto refused = [&](const Error& error) {
    give_back_all(vcpu);
    stop_idle_scx();
    return error;
  };
  auto index = policy_->reserve_vcpu();
  if (!index) return refused(index.error());
  vcpu.index = *index;
  if (auto status = actuator_->adopt(*index, id, spec, vcpu.mode); !status) return refused(status.error());
  if (auto status = policy_->add_vcpu(id, *index, spec); !status) {
    actuator_->release(*index);
    return refused(status.error());
  }
  vm.vcpus.emplace(spec.id, std::move(vcpu));
  // From here on the policy sees the thread's end; it may have come before.
  if (spec.start_time && start_time("/proc", spec.tid) != spec.start_time) {
    remove_vcpu(id, spec.id);
    return Error("thread " + std::to_string(spec.tid) + " has ended", ESRCH);
  }
  return {};
}

void EngineImpl::remove_vcpu(VmId id, unsigned vcpu_id) {
  Vm& vm = vms_.at(id);
  auto it = vm.vcpus.find(vcpu_id);
  if (it == vm.vcpus.end()) return;
  policy_->remove_vcpu(it->second.index);  // no decision follows
  actuator_->release(it->second.index);  // baseline, before the run time that a boost needs is gone
  give_back_all(it->second);
  vm.vcpus.erase(it);
  stop_idle_scx();
}

void EngineImpl::set_tag(VmId id, unsigned vcpu_id, std::uint32_t tag) {
  Vm& vm = vms_.at(id);
  auto it = vm.vcpus.find(vcpu_id);
  if (it == vm.vcpus.end()) return;
  it->second.spec.tag = tag;
  policy_->set_tag(it->second.index, tag);
}

Status EngineImpl::set_class(VmId id, pid_t tid, std::uint64_t start, std::uint32_t body) {
  Vm& vm = vms_.at(id);
  if (auto it = vm.classed.find(tid); it != vm.classed.end() && it->second.spec.start_time != start)
    clear_class(id, tid);
  auto it = vm.classed.find(tid);
  if (it == vm.classed.end()) {
    BaselineEntry* entries = (*baselines_)->classed;
    auto* free = std::find_if(entries, entries + kMaxClassed, [](const BaselineEntry& e) { return e.active == 0; });
    if (free == entries + kMaxClassed)
      return Error("all " + std::to_string(kMaxClassed) + " entries for threads with a class are taken");
    Vcpu thread;
    thread.spec.tid = tid;
    thread.spec.start_time = start;
    thread.index = static_cast<unsigned>(free - entries);
    if (pvs_decision_rt(body) != 0) thread.mode = choose_mode(vm, thread);
    if (auto noted = note_baseline(*free, tid, start, thread.mode); !noted) {
      give_back_all(thread);
      return noted;
    }
    it = vm.classed.emplace(tid, std::move(thread)).first;
  }
  return give_class((*baselines_)->classed[it->second.index], body);
}

void EngineImpl::clear_class(VmId id, pid_t tid) {
  Vm& vm = vms_.at(id);
  auto it = vm.classed.find(tid);
  if (it == vm.classed.end()) return;
  BaselineEntry& entry = (*baselines_)->classed[it->second.index];
  restore_thread(entry);
  entry.active = 0;
  give_back_all(it->second);
  vm.classed.erase(it);
}

Result<CpuSet> EngineImpl::place(VmId id, unsigned vcpu_id, const CpuSet& prefer) {
  Vm& vm = vms_.at(id);
  auto it = vm.vcpus.find(vcpu_id);
  if (it == vm.vcpus.end()) return Error("there is no vCPU " + std::to_string(vcpu_id), ENOENT);
  policy_->set_preference(it->second.index, prefer);
  BaselineEntry& entry = (*baselines_)->entries[it->second.index];
  if (!policy_->in_scheduler()) return place_thread(entry, prefer);
  // The scheduler heeds the preference; what setattr did before it came is undone.
  if (auto undone = place_thread(entry, {}); !undone) return undone;
  CpuSet own;
  if (int err = get_affinity(entry.tid, own)) return Error::system("thread " + std::to_string(entry.tid), err);
  return prefer & own;
}

void EngineImpl::remove_vm(VmId id) {
  auto it = vms_.find(id);
  if (it == vms_.end()) return;
  while (!it->second.classed.empty()) clear_class(id, it->second.classed.begin()->first);
  while (!it->second.vcpus.empty()) remove_vcpu(id, it->second.vcpus.begin()->first);
  policy_->remove_vm(id);
  (*baselines_)->weights[id].active = 0;  // the last of its vCPUs has put it back
  vms_.erase(it);
}

Result<VmStatus> EngineImpl::status(VmId id) const {
  auto it = vms_.find(id);
  if (it == vms_.end()) return Error("no such VM");
  VmStatus out;
  out.rt_reason = it->second.rt_reason;
  for (const auto& [number, vcpu] : it->second.vcpus) {
    const pvs_mailbox& box = policy_->mailbox(vcpu.index);
    VcpuStatus status;
    status.spec = vcpu.spec;
    status.decision = box.decision;
    status.applied = box.applied;
    status.foreign = actuator_->foreign(vcpu.index);
    status.alive = !box.dead;
    status.stats = policy_->stats(vcpu.index);
    out.rt_mode = std::max(out.rt_mode, vcpu.mode);
    out.vcpus.push_back(status);
  }
  return out;
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::create(const EngineOptions& options) {
  auto engine = std::make_unique<EngineImpl>(options);
  if (auto status = engine->open(); !status) return status.error();
  return Result<std::unique_ptr<Engine>>(std::move(engine));
}

}  // namespace pvsched
