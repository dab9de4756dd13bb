// SPDX-License-Identifier: GPL-2.0-or-later
// Session: the device in the VM and the areas it is given.
#include <algorithm>

#include "daemon/session.h"

namespace pvsched {
namespace {

constexpr const char* kDeviceType = "child<pvsched>";
constexpr const char* kGuestFdName = "pvsched-guest";
constexpr const char* kHostFdName = "pvsched-host";
constexpr const char* kFdNames[] = {kGuestFdName, kHostFdName};
constexpr const char* kParents[] = {"/machine/peripheral", "/machine/peripheral-anon"};
constexpr const char* kPolicy = "latency:1";  // name and version shown to the guest
constexpr std::int64_t kDetailsAgeMs = 1000;

// Read-only properties of the device, for status.
constexpr const char* kDetails[] = {"transport",  "transport-result", "driver-status",  "host-status",
                                    "generation", "guest-errors",     "guest-features", "gpa"};

}  // namespace

Task<Result<Json>> Session::ask(std::string command, Json arguments, std::vector<Fd> fds) {
  if (!qmp_) co_return Error("QMP is not connected", ENOTCONN);
  Await<Result<Json>> reply([&](auto done) { qmp_->execute(command, std::move(arguments), std::move(fds), done); });
  Result<Json> result = co_await reply;
  co_return result;
}

Task<Result<Json>> Session::get(std::string path, std::string property) {
  Json arguments;
  arguments["path"] = path;
  arguments["property"] = property;
  co_return co_await ask("qom-get", std::move(arguments));
}

Task<Status> Session::set(std::string path, std::string property, std::string value) {
  Json arguments;
  arguments["path"] = path;
  arguments["property"] = property;
  arguments["value"] = value;
  Result<Json> result = co_await ask("qom-set", std::move(arguments));
  if (!result) co_return result.error();
  co_return Status();
}

// The QOM path of the device, or nothing where there is none.
Task<Result<std::string>> Session::find_device() {
  for (std::size_t i = 0; i < std::size(kParents); ++i) {
    const std::string parent = kParents[i];
    Json arguments;
    arguments["path"] = parent;
    Result<Json> list = co_await ask("qom-list", std::move(arguments));
    if (!list) {
      if (list.error().code() == kQmpRefused) continue;
      co_return list.error();
    }
    if (!list->is_array()) co_return Error("qom-list's reply is no list", EPROTO);
    for (const auto& entry : *list) {
      if (string_member(entry, "type") != kDeviceType) continue;
      const std::string name = string_member(entry, "name").value_or("");
      if (!name.empty() && name.find('/') == std::string::npos) co_return parent + "/" + name;
    }
  }
  co_return std::string();
}

Task<Status> Session::update_device() {
  if (device_) {
    // The device may be gone, another one of its name, or without the areas that it was given.
    Result<Json> areas = co_await get(device_->path, "areas");
    if (!areas && areas.error().code() != kQmpRefused) co_return areas.error();
    if (!areas)
      device_gone();
    else if (device_ && device_->provided && *areas == "")
      device_->provided = false;
  }
  if (!device_) {
    Result<std::string> found = co_await find_device();
    if (!found) co_return found.error();
    if (found->empty()) co_return Status();
    device_.emplace();
    device_->path = *found;
  }
  if (device_->provided) co_return Status();
  if (device_->skip > 0) {
    --device_->skip;
    co_return Status();
  }
  Status provided = co_await provide_areas();
  if (!device_) co_return Status();  // unplugged meanwhile
  if (provided) {
    device_->provided = true;
    device_->trouble.clear();
    device_->failures = 0;
    if (reported_open_) say(LogLevel::kInfo, "device " + device_->path + " has its areas");
    co_return Status();
  }
  env_.engine->drop_areas(*vm_);
  const Error error = provided.error();
  if (error.code() != kQmpRefused && error.code() != 0 && qmp_ && !qmp_->healthy()) co_return error;
  // The device, not the connection, is the trouble: the VM is served agentless, and asked again less and less often.
  device_->skip = 1u << std::min(device_->failures, 6u);
  ++device_->failures;
  if (device_->trouble != error.text())
    say(LogLevel::kWarning, "device " + device_->path + " does not get its areas, served agentless: " + error.text());
  device_->trouble = error.text();
  co_return Status();
}

Task<Status> Session::provide_areas() {
  const std::string path = device_->path;
  Result<Json> slots = co_await get(path, "slots");
  if (!slots) co_return slots.error();
  if (!slots->is_number_integer() || slots->get<std::uint64_t>() < 1 || slots->get<std::uint64_t>() > PVSCHED_MAX_SLOTS)
    co_return Error("the device's slots are " + printable(dump_json(*slots), 40) + ": allowed is 1 to " +
                        std::to_string(PVSCHED_MAX_SLOTS),
                    kQmpRefused);
  if (!device_) co_return Error("the device was unplugged", kQmpRefused);
  device_->slots = slots->get<unsigned>();
  auto areas = env_.engine->create_areas(*vm_, device_->slots);
  if (!areas) co_return areas.error();

  for (std::size_t i = 0; i < std::size(kFdNames); ++i) {
    std::vector<Fd> fds;
    fds.push_back(std::move(i == 0 ? areas->guest : areas->host));
    Json arguments;
    arguments["fdname"] = kFdNames[i];
    Result<Json> passed = co_await ask("getfd", std::move(arguments), std::move(fds));
    if (!passed) co_return passed.error();
  }
  device_->offered = true;  // from here on an orderly end takes them back
  Status set_areas = co_await set(path, "areas", std::string(kGuestFdName) + ":" + kHostFdName);
  if (!set_areas) co_return set_areas;
  Status set_policy = co_await set(path, "policy", kPolicy);
  if (set_policy) co_return set_policy;
  Status withdrawn = co_await set(path, "areas", "");
  (void)withdrawn;  // what matters is why the policy was not taken
  co_return set_policy;
}

void Session::device_gone() {
  if (!device_) return;
  say(LogLevel::kInfo, "device " + device_->path + " was unplugged, served agentless");
  if (vm_) env_.engine->drop_areas(*vm_);
  device_.reset();
}

Task<Status> Session::fetch_details() {
  std::map<std::string, Json> details;
  for (const char* property : kDetails) {
    if (!device_) break;
    Result<Json> value = co_await get(device_->path, property);
    if (!value && value.error().code() != kQmpRefused) break;
    if (value && value->is_primitive()) details[property] = *value;
  }
  if (device_) {
    device_->details = std::move(details);
    device_->details_ms = now_ms();
  }
  for (auto& done : std::exchange(details_waiting_, {})) post(done);
  co_return Status();
}

void Session::refresh_details(std::function<void()> done) {
  const bool fresh = device_ && device_->details_ms != 0 && now_ms() - device_->details_ms < kDetailsAgeMs;
  if (closed_ || !device_ || fresh || !qmp_ || !qmp_->healthy()) return done();
  details_waiting_.push_back(std::move(done));
  if (details_.running()) return;
  details_ = fetch_details();
  details_.start();
}

}  // namespace pvsched
