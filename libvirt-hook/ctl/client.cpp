// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/client.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>

#include "common/fd.h"

namespace pvsched {
namespace {

Error unreachable(const std::string& socket, int code) {
  return Error("pvschedd cannot be reached at " + socket + ": " + std::strerror(code), ENOTCONN);
}

// Of a call on the connection that failed: with a timeout set, EAGAIN says that it has passed.
Error no_answer(const std::string& socket, int code, unsigned timeout_ms) {
  if (code != EAGAIN) return unreachable(socket, code);
  return Error("pvschedd at " + socket + " did not answer within " + std::to_string(timeout_ms / 1000) + " s",
               ENOTCONN);
}

}  // namespace

Result<Json> ask_daemon(const std::string& socket, const Json& request, unsigned timeout_ms) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket.size() >= sizeof(address.sun_path)) return unreachable(socket, ENAMETOOLONG);
  std::copy(socket.begin(), socket.end(), address.sun_path);
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return Error::system("socket");
  const timeval timeout{static_cast<time_t>(timeout_ms / 1000), static_cast<suseconds_t>(timeout_ms % 1000) * 1000};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0)
    return unreachable(socket, errno);
  const std::string line = dump_json(request) + "\n";
  for (std::size_t sent = 0; sent < line.size();) {
    const ssize_t n = ::send(fd.get(), line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (n < 0) return no_answer(socket, errno, timeout_ms);
    sent += static_cast<std::size_t>(n);
  }
  std::string reply;
  char buffer[65536];
  while (reply.empty() || reply.back() != '\n') {
    const ssize_t n = ::recv(fd.get(), buffer, sizeof(buffer), 0);
    if (n < 0) return no_answer(socket, errno, timeout_ms);
    if (n == 0) return unreachable(socket, ECONNRESET);
    reply.append(buffer, static_cast<std::size_t>(n));
  }
  auto answer = parse_json(reply);
  if (!answer) return answer.error().in("pvschedd");
  if (bool_member(*answer, "ok") != true) return Error(string_member(*answer, "message").value_or("pvschedd said no"));
  return answer;
}

}  // namespace pvsched
