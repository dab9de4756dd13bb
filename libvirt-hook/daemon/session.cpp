// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/session.h"

#include <algorithm>

namespace pvsched {
namespace {

// Tells QEMU that the areas are withdrawn. Holds itself until both commands came back, or failed by their deadline.
struct Farewell {
  std::unique_ptr<Qmp> qmp;
  std::function<void()> done;

  static void say(std::unique_ptr<Qmp> qmp, const std::string& path, std::function<void()> done) {
    auto self = std::make_shared<Farewell>();
    self->qmp = std::move(qmp);
    self->done = std::move(done);
    self->qmp->on_event({});
    self->qmp->on_closed({});
    for (const char* property : {"policy", "areas"}) {
      Json arguments = {{"path", path}, {"property", property}, {"value", ""}};
      const bool last = std::string(property) == "areas";
      self->qmp->execute("qom-set", std::move(arguments), {}, [self, last](const Result<Json>&) {
        if (!last) return;
        post([self] {  // outside the Qmp's own frame, which goes here
          self->qmp.reset();
          if (self->done) self->done();
        });
      });
    }
  }
};

}  // namespace

Session::Session(const SessionEnv& env, SessionTarget target, DomainConfig config)
    : env_(env), target_(std::move(target)), config_(std::move(config)) {
  if (env_.tick_ms != 0)
    tick_ = Source::timer(env_.tick_ms, [this] {
      if (state_ == SessionState::kActive) look();
      return true;
    });
}

Session::~Session() { close(false); }

void Session::say(LogLevel level, const std::string& sentence) const {
  env_.log(level, "VM '" + printable(target_.name, 100) + "': " + sentence);
}

pvs_limits Session::limits() const {
  pvs_limits limits = config_.limits;
  limits.enabled = config_.enabled && enabled_ ? 1 : 0;
  return limits;
}

void Session::look() {
  if (closed_) return;
  if (pass_.running()) {
    again_ = true;
    return;
  }
  next_ = Source::once(0, [this] { start_pass(); });
}

void Session::start_pass() {
  if (closed_ || pass_.running()) return;
  again_ = false;
  next_.reset();
  pass_ = pass();
  pass_.start();
}

Task<Status> Session::pass() {
  Status outcome = co_await look_once();
  settled(outcome);
  co_return outcome;
}

Task<Status> Session::look_once() {
  if (auto opened = open_qmp(); !opened) co_return opened;
  Status cpus = co_await update_cpus();
  if (!cpus) co_return cpus;
  Status threads = co_await update_threads();
  if (!threads) co_return threads;
  co_return co_await update_device();
}

Status Session::open_qmp() {
  if (qmp_ && qmp_->healthy()) return {};
  auto opened = env_.open_qmp(target_, failures_);
  if (!opened) return opened.error();
  qmp_ = opened.take();
  qmp_->on_event([this](const std::string& name, const Json& data) {
    if (name == "DEVICE_DELETED" && device_ && string_member(data, "path") == device_->path) device_gone();
    if (name == "DEVICE_DELETED" || name == "ACPI_DEVICE_OST") look();
  });
  // Mostly the end of QEMU, of which the pidfd tells in a moment: no hurry.
  qmp_->on_closed([this](const Error&) {
    if (!pass_.running()) next_ = Source::once(env_.first_retry_ms, [this] { start_pass(); });
  });
  return {};
}

// Still inside the pass: nothing here may let it go.
void Session::settled(const Status& outcome) {
  if (outcome) {
    if (state_ == SessionState::kRetrying && reported_open_) say(LogLevel::kInfo, "looked after again");
    state_ = SessionState::kActive;
    failures_ = 0;
    trouble_.clear();
    if (!std::exchange(reported_open_, true))
      say(LogLevel::kInfo, "session open: QEMU process " + std::to_string(pid_) + ", " + std::to_string(vcpus_.size()) +
                               " vCPUs, " + (device_ && device_->provided ? "device " + device_->path : "agentless") +
                               ", over " + qmp_->transport());
    if (again_) next_ = Source::once(0, [this] { start_pass(); });
  } else {
    const Error& error = outcome.error();
    if (error.code() != kQmpRefused) drop_qmp();
    // That libvirt is away is told once, not for each VM.
    const auto level = error.code() == ENOTCONN && reported_open_ ? LogLevel::kDebug : LogLevel::kWarning;
    if (trouble_ != error.text()) say(level, error.text() + "; will be tried again");
    trouble_ = error.text();
    state_ = SessionState::kRetrying;
    const unsigned wait = std::min(env_.first_retry_ms << std::min(failures_, 16u), env_.last_retry_ms);
    ++failures_;
    next_ = Source::once(wait, [this] { start_pass(); });
  }
  for (auto& done : std::exchange(waiting_, {})) post([done, outcome] { done(outcome); });
}

std::string Session::policy() {
  std::string why = "policy '" + config_.policy + "' is not loaded";
  for (const PolicyInfo& info : env_.engine->policies()) {
    if (info.name != config_.policy) continue;
    if (info.refused.empty()) return policy_ = config_.policy;
    why = info.refused;
  }
  say(LogLevel::kWarning, why + "; " + kDefaultPolicy + " serves the VM");
  return policy_ = kDefaultPolicy;
}

void Session::configure(DomainConfig config) {
  config_ = std::move(config);
  if (!vm_) return;
  if (auto set = env_.engine->set_limits(*vm_, limits(), policy()); !set)
    say(LogLevel::kWarning, "limits not taken: " + set.error().text());
  for (auto& [id, vcpu] : vcpus_)
    if (vcpu.registered && !wanted(id)) {
      env_.engine->remove_vcpu(*vm_, id);
      vcpu.registered = false;
    }
  unknown_tags_.clear();
  retag();
  look();
}

void Session::set_enabled(bool on) {
  if (enabled_ == on) return;
  enabled_ = on;
  say(LogLevel::kInfo, on ? "enabled" : "disabled");
  configure(config_);
}

// QEMU is another process than before: everything known of the old one goes.
void Session::forget_process() {
  if (vm_) env_.engine->remove_vm(*vm_);
  vm_.reset();
  vcpus_.clear();
  threads_.clear();
  device_.reset();
  pidfd_source_.reset();
  pidfd_.reset();
  pid_ = 0;
}

// Callbacks that wait on this Qmp are never called: whoever waited for the device's state is told now.
void Session::drop_qmp() {
  details_.reset();
  for (auto& fn : std::exchange(details_waiting_, {})) post(fn);
  qmp_.reset();
}

void Session::close(bool orderly, std::function<void()> done) {
  if (std::exchange(closed_, true)) return;
  pass_.reset();
  next_.reset();
  tick_.reset();
  for (auto& fn : std::exchange(waiting_, {})) post([fn] { fn(Error("session closed", ECANCELED)); });
  const std::string path = device_ && device_->offered ? device_->path : "";
  forget_process();
  auto qmp = orderly && !path.empty() && qmp_ && qmp_->healthy() ? std::move(qmp_) : nullptr;
  drop_qmp();
  if (qmp)
    Farewell::say(std::move(qmp), path, std::move(done));
  else if (done)
    done();
}

}  // namespace pvsched
