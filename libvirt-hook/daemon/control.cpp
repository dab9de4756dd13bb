// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/control.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>

namespace pvsched {

Json failure(const std::string& message) { return {{"ok", false}, {"message", message}}; }

Result<std::unique_ptr<ControlServer>> ControlServer::listen(const ControlOptions& options, Handler handler) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (options.path.empty() || options.path.size() >= sizeof(address.sun_path))
    return Error("socket path '" + options.path + "' is empty or too long", ENAMETOOLONG);
  std::copy(options.path.begin(), options.path.end(), address.sun_path);
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return Error::system("socket");
  struct stat old {};
  if (::lstat(options.path.c_str(), &old) == 0 && S_ISSOCK(old.st_mode)) ::unlink(options.path.c_str());
  const mode_t mask = ::umask(0177);  // never reachable for others, not even for a moment
  const int bound = ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address));
  const int code = errno;
  ::umask(mask);
  if (bound != 0) return Error::system("socket " + options.path, code);
  if (::listen(fd.get(), 64) != 0) return Error::system("socket " + options.path);
  return std::unique_ptr<ControlServer>(new ControlServer(options, std::move(handler), std::move(fd)));
}

ControlServer::ControlServer(ControlOptions options, Handler handler, Fd socket)
    : options_(std::move(options)),
      handler_(std::move(handler)),
      socket_(std::move(socket)),
      self_(std::make_shared<ControlServer*>(this)) {
  accept_ = Source::on_fd(socket_.get(), G_IO_IN, [this](GIOCondition) {
    accept_client();
    return true;
  });
}

ControlServer::~ControlServer() { ::unlink(options_.path.c_str()); }

void ControlServer::accept_client() {
  Fd fd(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd) return;
  ucred peer{};
  socklen_t size = sizeof(peer);
  const bool known = ::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
  if (!known || (peer.uid != 0 && peer.uid != ::geteuid())) return;
  if (clients_.size() >= options_.max_clients) return;
  const unsigned id = next_id_++;
  clients_.emplace(id, Client{std::move(fd), LineBuffer(options_.max_line), "", false, false, {}, {}, {}});
  arm_timeout(id);
  watch(id);
}

void ControlServer::arm_timeout(unsigned id) {
  clients_.at(id).timeout = Source::once(options_.timeout_ms, [this, id] { clients_.erase(id); });
}

void ControlServer::watch(unsigned id) {
  clients_.at(id).read =
      Source::on_fd(clients_.at(id).fd.get(), static_cast<GIOCondition>(G_IO_IN | G_IO_HUP | G_IO_ERR),
                    [this, id](GIOCondition) { return readable(id); });
}

bool ControlServer::readable(unsigned id) {
  auto it = clients_.find(id);
  if (it == clients_.end()) return false;
  Client& client = it->second;
  char buffer[65536];
  const ssize_t n = ::recv(client.fd.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n <= 0) {
    client.ended = true;
    client.read.reset();
    go_on(id);
    return false;
  }
  if (!client.input.append({buffer, static_cast<std::size_t>(n)})) {
    client.ended = true;
    client.read.reset();
    answer(id, failure("request is longer than " + std::to_string(options_.max_line) + " bytes"));
    return false;
  }
  serve(id);
  auto still = clients_.find(id);
  return still != clients_.end() && !still->second.busy && still->second.output.empty();
}

// After an answer was taken: the next request, if it is there, or more to read, or the end.
void ControlServer::go_on(unsigned id) {
  if (serve(id)) return;
  auto it = clients_.find(id);
  if (it == clients_.end() || it->second.busy || !it->second.output.empty()) return;
  if (it->second.ended)
    clients_.erase(it);
  else if (!it->second.read.active())
    watch(id);
}

// Takes up the next request where there is one and none is under way.
bool ControlServer::serve(unsigned id) {
  auto it = clients_.find(id);
  if (it == clients_.end() || it->second.busy || !it->second.output.empty()) return false;
  auto line = it->second.input.next();
  if (!line) return false;
  it->second.busy = true;
  it->second.timeout.reset();
  auto request = parse_json(*line);
  if (!request) {
    answer(id, failure(request.error().text()));
    return true;
  }
  handler_(*request, [self = std::weak_ptr<ControlServer*>(self_), id](const Json& reply) {
    if (auto alive = self.lock()) (*alive)->answer(id, reply);
  });
  return true;
}

void ControlServer::answer(unsigned id, const Json& reply) {
  auto it = clients_.find(id);
  if (it == clients_.end()) return;
  it->second.busy = false;
  it->second.output += dump_json(reply) + "\n";
  arm_timeout(id);
  flush(id);
}

void ControlServer::flush(unsigned id) {
  auto it = clients_.find(id);
  if (it == clients_.end()) return;
  Client& client = it->second;
  while (!client.output.empty()) {
    const ssize_t n = ::send(client.fd.get(), client.output.data(), client.output.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {
      if (!client.write.active())
        client.write = Source::on_fd(client.fd.get(), G_IO_OUT, [this, id](GIOCondition) {
          flush(id);
          auto left = clients_.find(id);
          return left != clients_.end() && !left->second.output.empty();
        });
      return;
    }
    if (n < 0) {
      clients_.erase(id);
      return;
    }
    client.output.erase(0, static_cast<std::size_t>(n));
  }
  post([self = std::weak_ptr<ControlServer*>(self_), id] {
    if (auto alive = self.lock()) (*alive)->go_on(id);
  });
}

}  // namespace pvsched
