// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/app.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <csignal>
#include <cstddef>
#include <string_view>

#include <systemd/sd-daemon.h>

#include "daemon/requests.h"

namespace pvsched {
namespace {

// One daemon for a run directory. The descriptor is the lock.
Result<Fd> lock_instance(const std::string& run_dir) {
  const std::string path = run_dir + "/pvschedd.lock";
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return Error::system(path);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0)
    return Error("another pvschedd runs with the run directory " + run_dir, EEXIST);
  return fd;
}

// One daemon for a host's libvirt, whatever their run directories: two would replace each other's areas and take each
// other's boosts for baselines. A name in the abstract namespace is gone with its process.
Result<Fd> lock_host() {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return Error::system("cannot make the host's lock");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  constexpr std::string_view name = "pvschedd-serves-libvirt";
  name.copy(address.sun_path + 1, name.size());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0)
    return Error("another pvschedd serves this host's VMs: stop it first, as by 'systemctl stop pvschedd'", EEXIST);
  return fd;
}

// Where QEMU, which runs as another user, may make QMP sockets of its own. Packages make it by tmpfiles.d.
void make_qmp_directory(const std::string& run_dir) {
  const std::string path = run_dir + "/qmp";
  if (::mkdir(path.c_str(), 0770) != 0) return;
  for (const char* user : {"libvirt-qemu", "qemu"}) {
    if (const passwd* entry = ::getpwnam(user)) {
      if (::lchown(path.c_str(), 0, entry->pw_gid) != 0 || ::chmod(path.c_str(), 0770) != 0)
        log_line(LogLevel::kWarning, Error::system(path).text());
      return;
    }
  }
}

}  // namespace

App::App(Config config, std::function<Result<Config>()> reread)
    : config_(std::move(config)), reread_(std::move(reread)), loop_(g_main_loop_new(nullptr, FALSE)) {}

App::~App() { g_main_loop_unref(loop_); }

Status App::prepare() {
  if (::mkdir(config_.run_dir.c_str(), 0755) != 0 && errno != EEXIST) return Error::system(config_.run_dir);
  auto lock = lock_instance(config_.run_dir);
  if (!lock) return lock.error();
  lock_ = lock.take();
  if (config_.libvirt_uri != "none" && !config_.libvirt_uri.starts_with("test:")) {
    auto host = lock_host();
    if (!host) return host.error();
    host_lock_ = host.take();
  }
  make_qmp_directory(config_.run_dir);

  EngineOptions engine_options;
  engine_options.bpf_object = config_.bpf_object;
  engine_options.policies = config_.policies;
  engine_options.trust = config_.trust;
  engine_options.guardian = config_.guardian;
  engine_options.run_dir = config_.run_dir;
  engine_options.lease_ms = config_.lease_ms;
  engine_options.actuator = config_.actuator;
  engine_options.scheduler = config_.scheduler;
  engine_options.actuator_priority = static_cast<int>(config_.actuator_priority);
  auto engine = Engine::create(engine_options);
  if (!engine) return engine.error();
  engine_ = engine.take();
  for (const PolicyInfo& info : engine_->policies())
    if (!info.refused.empty()) log_line(LogLevel::kWarning, "refused: " + info.refused);

  if (config_.libvirt_uri != "none") start_libvirt();

  SessionsOptions options;
  options.schema = config_.schema;
  options.libvirt_run = config_.libvirt_run;
  options.own_tags = config_.tags;
  options.tag_cpus = config_.tag_cpus;
  options.tick_ms = config_.reconcile_s * 1000;
  options.changed = [this] { tell_systemd(); };
  sessions_ = std::make_unique<Sessions>(*engine_, options, host_.get());

  RequestServices services;
  services.engine = engine_.get();
  services.sessions = sessions_.get();
  services.host = host_.get();
  services.libvirt_uri = config_.libvirt_uri;
  services.reload = [this] { return reload(); };
  services.hook_heard = [this] {
    if (host_) host_->hurry();
  };
  ControlOptions control;
  control.path = config_.socket_path();
  auto server = ControlServer::listen(control, make_request_handler(std::move(services)));
  if (!server) return server.error();
  control_ = server.take();
  return {};
}

void App::start_libvirt() {
  LibvirtOptions options;
  options.uri = config_.libvirt_uri;
  LibvirtHost::Handlers handlers;
  handlers.connected = [this] {
    log_line(LogLevel::kInfo, "connected to libvirt at " + config_.libvirt_uri);
    sessions_->host_connected();
  };
  handlers.disconnected = [](const Error& error) {
    log_line(LogLevel::kWarning, error.text() + "; will be tried again, running VMs stay served");
  };
  handlers.event = [this](const std::string& uuid, DomainEvent event) { sessions_->host_event(uuid, event); };
  host_ = std::make_unique<LibvirtHost>(options, handlers);
}

Status App::run() {
  if (auto prepared = prepare(); !prepared) return prepared;
  terminate_ = Source::on_signal(SIGTERM, [this] { return stop(), true; });
  interrupt_ = Source::on_signal(SIGINT, [this] { return stop(), true; });
  hangup_ = Source::on_signal(SIGHUP, [this] {
    if (auto done = reload(); !done) log_line(LogLevel::kError, done.error().text());
    return true;
  });
  std::uint64_t watchdog_us = 0;
  if (sd_watchdog_enabled(0, &watchdog_us) > 0)
    watchdog_ =
        Source::timer(static_cast<unsigned>(watchdog_us / 2000), [] { return sd_notify(0, "WATCHDOG=1"), true; });
  policy_watch_ = Source::timer(1000, [this] { return watch(), true; });
  unsigned available = 0;
  for (const auto& source : engine_->sources()) available += source.available ? 1 : 0;
  const ActuatorInfo actuator = engine_->actuator();
  if (!actuator.reason.empty())
    log_line(LogLevel::kWarning,
             "actuator " + actuator.name + " instead of " + actuator.chosen + ": " + actuator.reason);
  actuator_ = actuator.name;
  log_line(LogLevel::kInfo, "pvschedd is ready at " + config_.socket_path() + ": actuator " + actuator.name + ", " +
                                std::to_string(available) + " event sources");
  sd_notify(0, "READY=1");
  tell_systemd();
  if (host_) host_->start();
  g_main_loop_run(loop_);
  control_.reset();
  sessions_.reset();
  host_.reset();
  engine_.reset();  // restores whatever is left, ends guardian and actuator
  log_line(LogLevel::kInfo, "pvschedd has stopped");
  return {};
}

void App::watch() {
  sessions_->watch_policies();
  sessions_->watch_tags();
  sessions_->place();
  engine_->watch_actuator();
  const ActuatorInfo now = engine_->actuator();
  if (std::exchange(actuator_, now.name) == now.name) return;
  if (now.reason.empty())
    log_line(LogLevel::kInfo, "actuator " + now.name);
  else
    log_line(LogLevel::kWarning, "actuator " + now.name + " instead of " + now.chosen + ": " + now.reason);
}

void App::tell_systemd() {
  if (!sessions_ || stopping_) return;
  sd_notifyf(0, "STATUS=Serving %zu VMs", sessions_->size());
}

void App::stop() {
  if (std::exchange(stopping_, true)) return;
  sd_notify(0, "STOPPING=1\nSTATUS=Returning vCPUs to their baseline");
  sessions_->close_all([this] { g_main_loop_quit(loop_); });
}

// What can change while VMs are served is changed; what cannot is said.
Status App::reload() {
  sd_notify(0, "RELOADING=1");
  auto fresh = reread_();
  sd_notify(0, "READY=1");
  if (!fresh) return fresh.error();
  set_log_level(fresh->log_level);
  sessions_->set_tick(fresh->reconcile_s * 1000);
  sessions_->set_own_tags(fresh->tags);
  sessions_->set_tag_cpus(fresh->tag_cpus);
  const bool restart = fresh->socket_path() != config_.socket_path() || fresh->run_dir != config_.run_dir ||
                       fresh->schema != config_.schema || fresh->bpf_object != config_.bpf_object ||
                       fresh->policies != config_.policies || fresh->trust != config_.trust ||
                       fresh->guardian != config_.guardian || fresh->actuator != config_.actuator ||
                       fresh->scheduler != config_.scheduler || fresh->lease_ms != config_.lease_ms ||
                       fresh->actuator_priority != config_.actuator_priority ||
                       fresh->libvirt_uri != config_.libvirt_uri || fresh->libvirt_run != config_.libvirt_run ||
                       fresh->log_target != config_.log_target;
  log_line(restart ? LogLevel::kWarning : LogLevel::kInfo,
           restart
               ? "configuration read: log level, interval and tags are in force, the rest needs a restart of pvschedd"
               : "configuration read");
  return {};
}

}  // namespace pvsched
