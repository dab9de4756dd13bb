// SPDX-License-Identifier: GPL-2.0-or-later
#include "qmp/socket_qmp.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>

namespace pvsched {
namespace {

constexpr std::size_t kMaxFds = 4;

// Sends bytes and, with the first of them, descriptors. As send: the count, or -1 with errno.
ssize_t send_with_fds(int socket, const std::string& bytes, const std::vector<Fd>& fds) {
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxFds)] = {};
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    for (std::size_t i = 0; i < fds.size(); ++i) {
      const int fd = fds[i].get();
      std::memcpy(CMSG_DATA(header) + i * sizeof(int), &fd, sizeof(int));
    }
  }
  return ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace

Result<std::unique_ptr<SocketQmp>> SocketQmp::open(const std::string& path, SocketQmpOptions options) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path))
    return Error("QMP socket path '" + path + "' is empty or longer than " +
                     std::to_string(sizeof(address.sun_path) - 1) + " bytes",
                 ENAMETOOLONG);
  std::copy(path.begin(), path.end(), address.sun_path);
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return Error::system("socket");
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    if (errno == EAGAIN) return Error("QMP socket " + path + " is busy with another client", EAGAIN);
    return Error::system("QMP socket " + path);
  }
  return adopt(std::move(fd), path, options);
}

std::unique_ptr<SocketQmp> SocketQmp::adopt(Fd socket, std::string name, SocketQmpOptions options) {
  return std::unique_ptr<SocketQmp>(new SocketQmp(std::move(socket), std::move(name), options));
}

SocketQmp::SocketQmp(Fd socket, std::string name, SocketQmpOptions options)
    : socket_(std::move(socket)), name_(std::move(name)), options_(options), input_(options.max_line) {
  ucred credentials{};
  socklen_t size = sizeof(credentials);
  if (::getsockopt(socket_.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0) peer_ = credentials.pid;
  read_source_ = Source::on_fd(socket_.get(), static_cast<GIOCondition>(G_IO_IN | G_IO_HUP | G_IO_ERR),
                               [this](GIOCondition) { return readable(); });
  arm_deadline("greeting");
}

void SocketQmp::arm_deadline(const std::string& what) {
  deadline_ = Source::once(options_.deadline_ms, [this, what] {
    fail(Error("QMP " + name_ + ": no reply to " + what + " within " + std::to_string(options_.deadline_ms) + " ms",
               ETIMEDOUT));
  });
}

void SocketQmp::execute(const std::string& command, Json arguments, std::vector<Fd> fds, Callback done) {
  if (!healthy()) return done(Error("QMP " + name_ + ": connection is closed", ENOTCONN));
  if (queue_.size() >= options_.max_queue || fds.size() > kMaxFds)
    return done(Error("QMP " + name_ + ": too much asked at once", EBUSY));
  const std::string id = "pvsched-" + std::to_string(next_id_++);
  queue_.push_back({command, id, qmp_request(command, arguments, id) + "\n", std::move(fds), std::move(done)});
  send_next();
}

void SocketQmp::send_next() {
  if (stage_ != Stage::kReady || current_ || queue_.empty() || !healthy()) return;
  current_.emplace(std::move(queue_.front()));
  queue_.pop_front();
  output_ = current_->text;
  arm_deadline(current_->name);
  flush();
}

// Writes what the socket takes; the rest when it takes more. False when the connection broke.
bool SocketQmp::flush() {
  static const std::vector<Fd> none;
  while (!output_.empty()) {
    const ssize_t n = send_with_fds(socket_.get(), output_, current_ ? current_->fds : none);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      if (!write_source_.active())
        write_source_ =
            Source::on_fd(socket_.get(), G_IO_OUT, [this](GIOCondition) { return flush() && !output_.empty(); });
      return true;
    }
    if (n < 0) {
      // Told from the loop: a caller of execute must not be called back, or destroyed, from inside it.
      const auto error = Error::system("QMP " + name_);
      deadline_ = Source::once(0, [this, error] { fail(error); });
      return false;
    }
    if (current_) current_->fds.clear();
    output_.erase(0, static_cast<std::size_t>(n));
  }
  return true;
}

bool SocketQmp::readable() {
  char buffer[65536];
  const ssize_t n = ::recv(socket_.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n < 0) {
    fail(Error::system("QMP " + name_));
    return false;
  }
  if (n == 0) {
    fail(Error("QMP " + name_ + ": QEMU closed the connection", ECONNRESET));
    return false;
  }
  const bool fits = input_.append({buffer, static_cast<std::size_t>(n)});
  std::weak_ptr<bool> alive = alive_;
  while (auto line = input_.next()) {
    handle(*line);
    if (alive.expired() || !healthy()) return false;
  }
  if (!fits) {
    fail(Error("QMP " + name_ + ": a line longer than " + std::to_string(options_.max_line) + " bytes", EPROTO));
    return false;
  }
  return true;
}

void SocketQmp::handle(const std::string& line) {
  if (line.empty()) return;
  auto message = parse_json(line);
  if (!message) return fail(message.error().in("QMP " + name_));
  if (!message->is_object()) return fail(Error("QMP " + name_ + ": a message that is no object", EPROTO));
  if (message->contains("event")) {
    if (on_event_) on_event_(string_member(*message, "event").value_or(""), member(*message, "data"));
    return;
  }
  switch (stage_) {
    case Stage::kGreeting:
      if (!message->contains("QMP")) return fail(Error("QMP " + name_ + ": greeted with something else", EPROTO));
      stage_ = Stage::kNegotiating;
      output_ = qmp_request("qmp_capabilities", Json(), "pvsched-0") + "\n";
      arm_deadline("qmp_capabilities");
      flush();
      return;
    case Stage::kNegotiating:
      if (auto result = qmp_result("qmp_capabilities", *message); !result) return fail(result.error());
      stage_ = Stage::kReady;
      deadline_.reset();
      send_next();
      return;
    case Stage::kReady:
      handle_reply(*message);
      return;
  }
}

void SocketQmp::handle_reply(const Json& reply) {
  if (!current_ || string_member(reply, "id") != current_->id)
    return fail(Error("QMP " + name_ + ": a reply that was not asked for", EPROTO));
  Command command = std::move(*current_);
  current_.reset();
  deadline_.reset();
  std::weak_ptr<bool> alive = alive_;
  command.done(qmp_result(command.name, reply));
  if (!alive.expired()) send_next();
}

void SocketQmp::fail(const Error& given) {
  if (!healthy()) return;
  const Error error = given;  // `given` may live in what is released below
  read_source_.reset();
  write_source_.reset();
  socket_.reset();
  std::deque<Command> lost = std::move(queue_);
  queue_.clear();
  if (current_) lost.push_front(std::move(*current_));
  current_.reset();
  output_.clear();
  std::weak_ptr<bool> alive = alive_;
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
