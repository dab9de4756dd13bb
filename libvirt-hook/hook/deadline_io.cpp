// SPDX-License-Identifier: GPL-2.0-or-later
#include "hook/deadline_io.h"

#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace pvsched::hook {

namespace {

constexpr std::int64_t kNsPerMs = 1000000;

std::int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1000 * kNsPerMs + now.tv_nsec;
}

/// Waits for the events. Errors: ETIMEDOUT, poll(2)'s.
Status wait_for(int fd, short events, const Deadline& deadline) {
  for (;;) {
    pollfd entry{.fd = fd, .events = events, .revents = 0};
    int ready = poll(&entry, 1, deadline.left_ms());
    if (ready > 0) return {};
    if (ready == 0) return Error("timed out", ETIMEDOUT);
    if (errno != EINTR) return Error::system("poll");
  }
}

bool try_again() { return errno == EINTR || errno == EAGAIN; }

}  // namespace

Deadline::Deadline(unsigned ms) : end_ns_(now_ns() + ms * kNsPerMs) {}

int Deadline::left_ms() const {
  return static_cast<int>(std::max<std::int64_t>(0, (end_ns_ - now_ns() + kNsPerMs - 1) / kNsPerMs));
}

Result<std::string> read_all(int fd, std::size_t limit, const Deadline& deadline) {
  std::string text;
  bool too_long = false;
  std::array<char, 65536> buffer;  // NOLINT: filled before it is read
  for (;;) {
    if (Status ready = wait_for(fd, POLLIN, deadline); !ready) return ready.error();
    ssize_t count = read(fd, buffer.data(), buffer.size());
    if (count < 0) {
      if (try_again()) continue;
      return Error::system("read");
    }
    if (count == 0) break;
    too_long = too_long || text.size() + static_cast<std::size_t>(count) > limit;
    if (!too_long) text.append(buffer.data(), static_cast<std::size_t>(count));
  }
  if (too_long) return Error("more than " + std::to_string(limit) + " bytes", EFBIG);
  return text;
}

Result<Fd> connect_unix(const std::string& path, const Deadline& deadline) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return Error::system("connect to " + path, ENAMETOOLONG);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) return Error::system("socket");
  while (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    if (!try_again()) return Error::system("connect to " + path);
    // EAGAIN: the listener's queue is full, which poll(2) cannot wait for.
    int left = deadline.left_ms();
    if (left == 0) return Error("connect to " + path + ": timed out", ETIMEDOUT);
    poll(nullptr, 0, std::min(left, 5));
  }
  return socket;
}

Status send_all(int socket, std::string_view data, const Deadline& deadline) {
  while (!data.empty()) {
    ssize_t count = send(socket, data.data(), data.size(), MSG_NOSIGNAL);
    if (count >= 0) {
      data.remove_prefix(static_cast<std::size_t>(count));
    } else if (errno == EAGAIN) {
      if (Status ready = wait_for(socket, POLLOUT, deadline); !ready) return ready;
    } else if (errno != EINTR) {
      return Error::system("send");
    }
    if (!data.empty() && deadline.left_ms() == 0) return Error("timed out", ETIMEDOUT);
  }
  return {};
}

Result<std::string> receive_line(int socket, std::size_t limit, const Deadline& deadline) {
  std::string line;
  std::array<char, 4096> buffer;  // NOLINT: filled before it is read
  for (;;) {
    if (Status ready = wait_for(socket, POLLIN, deadline); !ready) return ready.error();
    ssize_t count = recv(socket, buffer.data(), buffer.size(), 0);
    if (count < 0) {
      if (try_again()) continue;
      return Error::system("recv");
    }
    if (count == 0) return Error("closed the connection without an answer", ECONNRESET);
    std::string_view part(buffer.data(), static_cast<std::size_t>(count));
    std::size_t end = part.find('\n');
    line += part.substr(0, end);
    if (line.size() > limit) return Error("answer longer than " + std::to_string(limit) + " bytes", EFBIG);
    if (end != std::string_view::npos) return line;
  }
}

void write_if_ready(int fd, std::string_view line, const Deadline& deadline) {
  // POLLOUT promises PIPE_BUF bytes in a pipe; more could block.
  while (!line.empty() && wait_for(fd, POLLOUT, deadline)) {
    ssize_t count = write(fd, line.data(), std::min<std::size_t>(line.size(), PIPE_BUF));
    if (count > 0) {
      line.remove_prefix(static_cast<std::size_t>(count));
    } else if (!try_again()) {
      return;
    }
  }
}

}  // namespace pvsched::hook
