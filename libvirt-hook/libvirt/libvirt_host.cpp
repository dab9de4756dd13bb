// SPDX-License-Identifier: GPL-2.0-or-later
#include "libvirt/libvirt_host.h"

#include <algorithm>
#include <mutex>

#include <libvirt/libvirt-qemu.h>

namespace pvsched {
namespace {

constexpr int kMonitorThreads = 8;

// What libvirt's callbacks get: the host may be gone when they come.
struct Listener {
  std::weak_ptr<LibvirtHost*> host;
  std::function<void(const std::string& uuid, DomainEvent)> event;
  std::function<void(virConnectPtr, const Error&)> closed;
};

void free_listener(void* opaque) { delete static_cast<Listener*>(opaque); }

void tell(void* opaque, virDomainPtr domain, DomainEvent event) {
  auto* listener = static_cast<Listener*>(opaque);
  if (auto alive = listener->host.lock()) listener->event(uuid_of(domain), event);
}

int on_lifecycle(virConnectPtr, virDomainPtr domain, int event, int, void* opaque) {
  switch (event) {
    case VIR_DOMAIN_EVENT_STARTED:
    case VIR_DOMAIN_EVENT_RESUMED:
      tell(opaque, domain, DomainEvent::kStarted);
      break;
    case VIR_DOMAIN_EVENT_STOPPED:
      tell(opaque, domain, DomainEvent::kStopped);
      break;
  }
  return 0;
}

void on_metadata(virConnectPtr, virDomainPtr domain, int, const char*, void* opaque) {
  tell(opaque, domain, DomainEvent::kMetadata);
}

void on_device(virConnectPtr, virDomainPtr domain, const char*, void* opaque) {
  tell(opaque, domain, DomainEvent::kDevices);
}

// Also tells of devices that libvirt does not know, as those plugged over its monitor passthrough.
void on_monitor(virConnectPtr, virDomainPtr domain, const char*, long long, unsigned, const char*, void* opaque) {
  tell(opaque, domain, DomainEvent::kDevices);
}

const char* close_reason(int reason) {
  switch (reason) {
    case VIR_CONNECT_CLOSE_REASON_ERROR:
      return "I/O error";
    case VIR_CONNECT_CLOSE_REASON_EOF:
      return "libvirtd closed it";
    case VIR_CONNECT_CLOSE_REASON_KEEPALIVE:
      return "libvirtd did not answer";
    case VIR_CONNECT_CLOSE_REASON_CLIENT:
      return "closed here";
  }
  return "unknown reason";
}

void on_close(virConnectPtr connection, int reason, void* opaque) {
  auto* listener = static_cast<Listener*>(opaque);
  if (auto alive = listener->host.lock())
    listener->closed(connection, Error(std::string("connection to libvirt lost: ") + close_reason(reason), ECONNRESET));
}

// Runs on a worker thread.
Result<Connection> open_connection(const std::string& uri, int keepalive, const Listener& listener) {
  auto registrations = std::make_shared<Registrations>();
  Connection connection = own_connection(virConnectOpen(uri.c_str()), registrations);
  if (!connection) return libvirt_error("cannot connect to libvirt at " + uri);
  virConnectPtr raw = connection.get();
  virConnectSetKeepAlive(raw, keepalive, 3);  // refused by drivers without a network: no harm

  auto registered = [](Listener* copy, int id) {
    if (id < 0) delete copy;
    return id >= 0;
  };
  auto* on_closing = new Listener(listener);
  if (!registered(on_closing, virConnectRegisterCloseCallback(raw, on_close, on_closing, free_listener)))
    return libvirt_error("libvirt reports no lost connections");
  registrations->closing = true;

  struct Wanted {
    int id;
    virConnectDomainEventGenericCallback callback;
  };
  const Wanted wanted[] = {
      {VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle)},
      {VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, VIR_DOMAIN_EVENT_CALLBACK(on_metadata)},
      {VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, VIR_DOMAIN_EVENT_CALLBACK(on_device)},
      {VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, VIR_DOMAIN_EVENT_CALLBACK(on_device)},
  };
  for (const auto& event : wanted) {
    auto* copy = new Listener(listener);
    const int id = virConnectDomainEventRegisterAny(raw, nullptr, event.id, event.callback, copy, free_listener);
    if (!registered(copy, id)) return libvirt_error("libvirt delivers no domain events");
    registrations->events.push_back(id);
  }
  auto* copy = new Listener(listener);  // a driver without QEMU's events is served by the periodic look alone
  const int id =
      virConnectDomainQemuMonitorEventRegister(raw, nullptr, "DEVICE_DELETED", on_monitor, copy, free_listener, 0);
  if (registered(copy, id)) registrations->monitor_events.push_back(id);
  return connection;
}

Result<DomainInfo> describe(virDomainPtr domain) {
  DomainInfo info;
  info.uuid = uuid_of(domain);
  info.name = virDomainGetName(domain);
  info.active = virDomainIsActive(domain) == 1;
  LibvirtText xml(virDomainGetXMLDesc(domain, 0));
  if (!xml) return libvirt_error("no XML of domain " + info.name);
  info.xml = xml.get();
  return info;
}

Result<DomainInfo> find_domain(const Connection& connection, const std::string& uuid) {
  Domain domain(virDomainLookupByUUIDString(connection.get(), uuid.c_str()));
  if (!domain) return libvirt_error("no domain " + uuid);
  return describe(domain.get());
}

Result<std::vector<DomainInfo>> find_running(const Connection& connection) {
  virDomainPtr* raw = nullptr;
  const int count = virConnectListAllDomains(connection.get(), &raw, VIR_CONNECT_LIST_DOMAINS_ACTIVE);
  if (count < 0) return libvirt_error("libvirt lists no domains");
  std::vector<DomainInfo> infos;
  for (int i = 0; i < count; ++i) {
    Domain domain(raw[i]);
    if (auto info = describe(domain.get())) infos.push_back(info.take());  // one that has just gone is left out
  }
  std::free(raw);
  return infos;
}

}  // namespace

Connection own_connection(virConnectPtr raw, std::shared_ptr<Registrations> registrations) {
  if (raw == nullptr) return nullptr;
  struct Last {
    virConnectPtr connection;
    std::shared_ptr<Registrations> registrations;
  };
  return Connection(raw, [registrations = std::move(registrations)](virConnectPtr connection) {
    auto close = [](gpointer data) -> gpointer {
      std::unique_ptr<Last> last(static_cast<Last*>(data));
      for (int id : last->registrations->events) virConnectDomainEventDeregisterAny(last->connection, id);
      for (int id : last->registrations->monitor_events)
        virConnectDomainQemuMonitorEventDeregister(last->connection, id);
      if (last->registrations->closing) virConnectUnregisterCloseCallback(last->connection, on_close);
      virConnectClose(last->connection);
      return nullptr;
    };
    g_thread_unref(g_thread_new("libvirt-close", close, new Last{connection, registrations}));
  });
}

LibvirtHost::LibvirtHost(LibvirtOptions options, Handlers handlers)
    : options_(std::move(options)),
      handlers_(std::move(handlers)),
      retry_ms_(options_.first_retry_ms),
      monitor_workers_(std::make_shared<Worker>(kMonitorThreads)),
      self_(std::make_shared<LibvirtHost*>(this)) {
  static std::once_flag once;
  std::call_once(once, [] {
    virEventRegisterDefaultImpl();
    virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});  // errors are values here, not lines on stderr
  });
}

LibvirtHost::~LibvirtHost() = default;

void LibvirtHost::start() {
  if (opening_ || connection_) return;
  opening_ = true;
  retry_.reset();
  Listener listener;
  listener.host = self_;
  listener.event = [this](const std::string& uuid, DomainEvent event) {
    if (handlers_.event) handlers_.event(uuid, event);
  };
  listener.closed = [this](virConnectPtr which, const Error& error) {
    if (connection_ && which == connection_.get()) lost(error);  // an older one is none of our concern
  };
  worker_.call([uri = options_.uri, keepalive = options_.keepalive_s,
                listener] { return open_connection(uri, keepalive, listener); },
               [self = std::weak_ptr<LibvirtHost*>(self_)](Result<Connection> result) {
                 if (auto alive = self.lock()) (*alive)->opened(result);
               });
}

void LibvirtHost::hurry() {
  if (!connection_) start();
}

void LibvirtHost::opened(const Result<Connection>& result) {
  opening_ = false;
  if (!result) return lost(result.error());
  if (virConnectIsAlive(result->get()) != 1) return lost(Error("connection to libvirt lost", ECONNRESET));
  connection_ = *result;
  trouble_.clear();
  told_ = false;
  retry_ms_ = options_.first_retry_ms;
  if (handlers_.connected) handlers_.connected();
}

void LibvirtHost::lost(const Error& error) {
  connection_.reset();
  lanes_.clear();
  trouble_ = error.text();
  retry_later();
  if (std::exchange(told_, true)) return;
  if (handlers_.disconnected) handlers_.disconnected(error);
}

void LibvirtHost::retry_later() {
  if (opening_) return;
  retry_ = Source::once(retry_ms_, [this] { start(); });
  retry_ms_ = std::min(retry_ms_ * 2, options_.last_retry_ms);
}

void LibvirtHost::domain(const std::string& uuid, std::function<void(Result<DomainInfo>)> done) {
  if (!connection_) return done(Error(trouble_, ENOTCONN));
  worker_.call([connection = connection_, uuid] { return find_domain(connection, uuid); }, std::move(done));
}

void LibvirtHost::running(std::function<void(Result<std::vector<DomainInfo>>)> done) {
  if (!connection_) return done(Error(trouble_, ENOTCONN));
  worker_.call([connection = connection_] { return find_running(connection); }, std::move(done));
}

Result<std::unique_ptr<Qmp>> LibvirtHost::monitor(const std::string& uuid) {
  if (!connection_) return Error(trouble_, ENOTCONN);
  auto& lane = lanes_[uuid];
  if (lane && lane->busy) return Error("libvirt has not come back from an earlier QMP command", EBUSY);
  lane = std::make_shared<MonitorLane>(MonitorLane{connection_, uuid});
  std::erase_if(lanes_, [&](const auto& entry) { return entry.second.use_count() == 1 && entry.second != lane; });
  return std::unique_ptr<Qmp>(new PassthroughQmp(lane, monitor_workers_));
}

}  // namespace pvsched
