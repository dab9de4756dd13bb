// SPDX-License-Identifier: GPL-2.0-or-later
#include "bpf/policy_object.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstring>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "maps.h"
#include "sources.h"

namespace pvsched {
namespace {

struct SourceName {
  const char* kind;
  const char* name;
};

#define PVS_SOURCE_NAME(kind, name) SourceName{#kind, #name},
constexpr SourceName kSources[] = {PVS_SOURCES(PVS_SOURCE_NAME)};

// libbpf explains a refusal only through its print hook: keep the last of what it says.
std::string* g_libbpf_text = nullptr;

int keep_libbpf_text(enum libbpf_print_level level, const char* format, va_list args) {
  if (level == LIBBPF_DEBUG || !g_libbpf_text) return 0;
  char line[4096];
  std::vsnprintf(line, sizeof(line), format, args);
  g_libbpf_text->append(line);
  if (g_libbpf_text->size() > 8192) g_libbpf_text->erase(0, g_libbpf_text->size() - 8192);
  return 0;
}

// Collects libbpf's warnings while it lives.
class LibbpfText {
 public:
  LibbpfText() {
    g_libbpf_text = &text_;
    libbpf_set_print(keep_libbpf_text);
  }
  ~LibbpfText() { g_libbpf_text = nullptr; }
  LibbpfText(const LibbpfText&) = delete;
  LibbpfText& operator=(const LibbpfText&) = delete;

  // The last `lines` lines as one, separated by " | ".
  std::string tail(unsigned lines) const {
    std::string out;
    std::size_t end = text_.size();
    while (end > 0 && lines-- > 0) {
      std::size_t start = text_.rfind('\n', end >= 2 ? end - 2 : 0);
      start = start == std::string::npos ? 0 : start + 1;
      std::string line = text_.substr(start, end - start);
      while (!line.empty() && line.back() == '\n') line.pop_back();
      if (!line.empty()) out = out.empty() ? line : line + " | " + out;
      end = start;
    }
    return out;
  }

 private:
  std::string text_;
};

std::string probe_path(const std::string& object) {
  auto slash = object.rfind('/');
  return (slash == std::string::npos ? std::string() : object.substr(0, slash + 1)) + "probe.bpf.o";
}

// Loads and attaches the empty program of one source; returns why not, or nothing.
std::string try_source(const std::string& path, const char* name) {
  LibbpfText text;
  bpf_object* object = bpf_object__open_file(path.c_str(), nullptr);
  if (!object) return "cannot open " + path + ": " + std::strerror(errno);
  bpf_program* program;
  bpf_object__for_each_program(program, object)
      bpf_program__set_autoload(program, std::strcmp(bpf_program__name(program), name) == 0);
  std::string reason;
  int err = bpf_object__load(object);
  if (err == -ESRCH || err == -ENOENT) {
    reason = "not in this kernel";
  } else if (err) {
    reason = std::string("refused by the kernel: ") + std::strerror(-err);
  } else {
    bpf_link* link = bpf_program__attach(bpf_object__find_program_by_name(object, name));
    if (!link) reason = std::string("loads but does not attach: ") + std::strerror(errno);
    bpf_link__destroy(link);
  }
  bpf_object__close(object);
  return reason;
}

template <typename T>
T* map_array(int fd, std::size_t count) {
  void* at = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return at == MAP_FAILED ? nullptr : static_cast<T*>(at);
}

}  // namespace

Result<std::unique_ptr<Policy>> Policy::load(const std::string& object) {
  std::unique_ptr<Policy> policy(new Policy());
  policy->filter_count_.resize(PVS_FILTER_WORDS * 64);
  policy->vms_.resize(PVS_MAX_VMS);
  policy->vcpus_.resize(PVS_MAX_VCPUS);
  if (auto status = policy->probe(object); !status) return status.error();
  if (auto status = policy->open(object); !status) return status.error();
  if (auto status = policy->map_shared(); !status) return status.error();
  return policy;
}

Policy::~Policy() {
  detach();
  ring_buffer__free(ring_);
  if (globals_) munmap(globals_, sizeof(pvs_globals));
  if (mailboxes_) munmap(mailboxes_, PVS_MAX_VCPUS * sizeof(pvs_mailbox));
  if (stats_) munmap(stats_, PVS_MAX_VCPUS * sizeof(pvs_stats));
  bpf_object__close(object_);
}

Status Policy::probe(const std::string& object) {
  unsigned nr = 0;
  for (const SourceName& source : kSources) {
    SourceInfo info;
    info.name = std::string(source.kind) == "fentry" ? std::string("fentry:") + source.name : source.name;
    info.reason = try_source(probe_path(object), source.name);
    info.available = info.reason.empty();
    if (!info.available && nr < PVS_REQUIRED_SOURCES)
      return Error("event source " + info.name + " is needed: " + info.reason);
    sources_.push_back(std::move(info));
    ++nr;
  }
  return {};
}

Status Policy::open(const std::string& object) {
  LibbpfText text;
  object_ = bpf_object__open_file(object.c_str(), nullptr);
  if (!object_) return Error::system("cannot open " + object);
  for (std::size_t i = 0; i < sources_.size(); ++i)
    bpf_program__set_autoload(bpf_object__find_program_by_name(object_, kSources[i].name), sources_[i].available);
  if (int err = bpf_object__load(object_); err)
    return Error::system("the kernel refused " + object + " (" + text.tail(6) + ")", -err);
  return {};
}

Status Policy::map_shared() {
  auto fd_of = [this](const char* name) { return bpf_object__find_map_fd_by_name(object_, name); };
  vcpus_fd_ = fd_of("vcpus");
  apics_fd_ = fd_of("apics");
  limits_fd_ = fd_of("limits");
  guest_areas_fd_ = fd_of("guest_areas");
  host_areas_fd_ = fd_of("host_areas");
  control_fd_ = bpf_program__fd(bpf_object__find_program_by_name(object_, "control"));
  mailboxes_ = map_array<pvs_mailbox>(fd_of("mailboxes"), PVS_MAX_VCPUS);
  stats_ = map_array<pvs_stats>(fd_of("stats"), PVS_MAX_VCPUS);
  if (!mailboxes_ || !stats_) return Error::system("cannot map the policy's mailboxes");
  bpf_map* bss = bpf_object__find_map_by_name(object_, ".bss");
  if (!bss || bpf_map__value_size(bss) != sizeof(pvs_globals))
    return Error("the policy object is of another version than this program");
  globals_ = map_array<pvs_globals>(bpf_map__fd(bss), 1);
  if (!globals_) return Error::system("cannot map the policy's globals");
  ring_ = ring_buffer__new(fd_of("ring"), record_callback, this, nullptr);
  if (!ring_) return Error::system("cannot open the policy's ring buffer");
  globals_->enabled = 1;
  return {};
}

int Policy::ring_fd() const { return ring_buffer__epoll_fd(ring_); }

void Policy::consume() { ring_buffer__consume(ring_); }

int Policy::record_callback(void* self, void* data, std::size_t size) {
  if (size >= sizeof(pvs_record)) static_cast<Policy*>(self)->sink_(static_cast<pvs_record*>(data)->index);
  return 0;
}

Status Policy::attach() {
  LibbpfText text;
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    if (!sources_[i].available) continue;
    bpf_link* link = bpf_program__attach(bpf_object__find_program_by_name(object_, kSources[i].name));
    if (!link) {
      Error error = Error::system("cannot attach to " + sources_[i].name + " (" + text.tail(2) + ")");
      detach();
      return error;
    }
    links_.push_back(link);
  }
  return {};
}

void Policy::detach() {
  for (bpf_link* link : links_) bpf_link__destroy(link);
  links_.clear();
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

Result<VmId> Policy::add_vm(pid_t pid, const pvs_limits& limits) {
  auto free = std::find_if(vms_.begin(), vms_.end(), [](const Vm& vm) { return !vm.used; });
  if (free == vms_.end()) return Error("all " + std::to_string(PVS_MAX_VMS) + " VM entries of the policy are taken");
  VmId vm = static_cast<VmId>(free - vms_.begin());
  *free = Vm{true, pid, 0, -1, -1};
  if (auto status = set_limits(vm, limits); !status) {
    free->used = false;
    return status.error();
  }
  return vm;
}

Status Policy::set_limits(VmId vm, const pvs_limits& limits) {
  if (bpf_map_update_elem(limits_fd_, &vm, &limits, BPF_ANY)) return Error::system("cannot set the VM's limits");
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

Status Policy::run_control(pid_t tid, bool init) {
  std::array<std::uint8_t, 64> packet{};
  LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = packet.data(), .data_size_in = packet.size(), .repeat = 1);
  globals_->control_tid = static_cast<__u32>(tid);
  globals_->control_init = init ? 1 : 0;
  if (int err = bpf_prog_test_run_opts(control_fd_, &run); err)
    return Error::system("cannot run the policy's control program", -err);
  if (run.retval == 2) return Error("the kernel gives no timer for thread " + std::to_string(tid));
  if (run.retval != 0) return Error("thread " + std::to_string(tid) + " is not under the policy");
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
  return index;
}

Status Policy::add_vcpu(VmId vm, unsigned index, const VcpuSpec& spec) {
  if (links_.empty())
    if (auto status = attach(); !status) return status.error();

  pvs_vcpu record{};
  record.index = index;
  record.vm = vm;
  record.slot = spec.id;
  pvs_apic_key key{static_cast<__u32>(vms_[vm].pid), spec.apic_id};
  if (bpf_map_update_elem(vcpus_fd_, &spec.tid, &record, BPF_NOEXIST))
    return Error::system("cannot put thread " + std::to_string(spec.tid) + " under the policy");
  vcpus_[index] = std::make_unique<Vcpu>(Vcpu{vm, spec, vms_[vm].pid});
  ++vms_[vm].vcpus;
  bpf_map_update_elem(apics_fd_, &key, &spec.tid, BPF_ANY);
  update_only_vcpu(vm);
  filter(static_cast<unsigned>(spec.tid), 1);
  filter(static_cast<unsigned>(vms_[vm].pid), 1);
  if (auto status = run_control(spec.tid, true); !status) {
    remove_vcpu(index);
    return status.error();
  }
  return {};
}

void Policy::remove_vcpu(unsigned index) {
  Vcpu& vcpu = *vcpus_[index];
  filter(static_cast<unsigned>(vcpu.spec.tid), -1);
  filter(static_cast<unsigned>(vcpu.tgid), -1);
  bpf_map_delete_elem(vcpus_fd_, &vcpu.spec.tid);
  pvs_apic_key key{static_cast<__u32>(vcpu.tgid), vcpu.spec.apic_id};
  bpf_map_delete_elem(apics_fd_, &key);
  VmId vm = vcpu.vm;
  vcpus_[index].reset();
  --vms_[vm].vcpus;
  update_only_vcpu(vm);
  if (std::all_of(vcpus_.begin(), vcpus_.end(), [](const auto& v) { return !v; })) detach();
}

void Policy::evaluate(unsigned index) {
  // A thread that has exited is not found any more: nothing to evaluate.
  (void)run_control(vcpus_[index]->spec.tid, false);
}

}  // namespace pvsched
