// SPDX-License-Identifier: GPL-2.0-or-later
#include "libvirt/passthrough_qmp.h"

#include <libvirt/libvirt-qemu.h>

namespace pvsched {
namespace {

// Runs on a worker thread.
Result<std::string> ask(const Connection& connection, const std::string& uuid, const std::string& text,
                        const std::vector<Fd>& fds) {
  Domain domain(virDomainLookupByUUIDString(connection.get(), uuid.c_str()));
  if (!domain) return libvirt_error("libvirt does not find the domain");
  std::vector<int> numbers;
  for (const auto& fd : fds) numbers.push_back(fd.get());
  char* raw = nullptr;
  const int failed =
      virDomainQemuMonitorCommandWithFiles(domain.get(), text.c_str(), static_cast<unsigned>(numbers.size()),
                                           numbers.empty() ? nullptr : numbers.data(), nullptr, nullptr, &raw, 0);
  LibvirtText reply(raw);
  if (failed != 0) return libvirt_error("libvirt does not pass the QMP command on");
  return std::string(reply ? reply.get() : "");
}

}  // namespace

PassthroughQmp::PassthroughQmp(std::shared_ptr<MonitorLane> lane, std::shared_ptr<Worker> workers, unsigned deadline_ms)
    : lane_(std::move(lane)),
      workers_(std::move(workers)),
      deadline_ms_(deadline_ms),
      self_(std::make_shared<PassthroughQmp*>(this)) {}

void PassthroughQmp::execute(const std::string& command, Json arguments, std::vector<Fd> fds, Callback done) {
  if (failed_) return done(Error("libvirt passthrough is closed", ENOTCONN));
  // libvirt puts its own id in, and refuses one that is there.
  queue_.push_back({command, qmp_request(command, arguments, ""), std::move(fds), std::move(done)});
  send_next();
}

void PassthroughQmp::send_next() {
  if (failed_ || waiting_ || queue_.empty()) return;
  if (lane_->busy) return fail(Error("libvirt has not come back from an earlier QMP command", EBUSY));
  waiting_ = true;
  lane_->busy = true;
  Command& command = queue_.front();
  deadline_ = Source::once(deadline_ms_, [this, name = command.name] {
    fail(Error("libvirt passthrough: no reply to " + name + " within " + std::to_string(deadline_ms_) + " ms",
               ETIMEDOUT));
  });
  auto fds = std::make_shared<std::vector<Fd>>(std::move(command.fds));
  workers_->call([connection = lane_->connection, uuid = lane_->uuid, text = command.text,
                  fds] { return ask(connection, uuid, text, *fds); },
                 [lane = lane_, self = std::weak_ptr<PassthroughQmp*>(self_)](Result<std::string> reply) {
                   lane->busy = false;
                   if (auto still = self.lock()) (*still)->replied(reply);
                 });
}

void PassthroughQmp::replied(const Result<std::string>& reply) {
  if (failed_ || !waiting_) return;
  if (!reply) return fail(reply.error());
  auto message = parse_json(*reply);
  if (!message) return fail(message.error().in("libvirt passthrough"));
  Command command = std::move(queue_.front());
  queue_.pop_front();
  waiting_ = false;
  deadline_.reset();
  std::weak_ptr<PassthroughQmp*> alive = self_;
  command.done(qmp_result(command.name, *message));
  if (!alive.expired()) send_next();
}

void PassthroughQmp::fail(const Error& given) {
  if (failed_) return;
  const Error error = given;
  failed_ = true;
  waiting_ = false;
  std::deque<Command> lost = std::move(queue_);
  queue_.clear();
  std::weak_ptr<PassthroughQmp*> alive = self_;
  for (auto& command : lost) {
    command.done(error);
    if (alive.expired()) return;
  }
  deadline_.reset();
  if (on_closed_) {
    auto told = on_closed_;
    told(error);
  }
}

}  // namespace pvsched
