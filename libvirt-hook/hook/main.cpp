// SPDX-License-Identifier: GPL-2.0-or-later
// pvsched-hook [--socket PATH] NAME OPERATION SUB EXTRA < domain.xml
//
// libvirt runs it at each step of a VM's life, and waits for it. So it only forwards, in at most 300 ms, and whatever
// goes wrong it exits 0: VMs must start, and pvschedd picks a running VM up by itself. The one exception is `prepare`
// (and `start`, should it ever be forwarded), where pvschedd may refuse: exit 1, with the reason on stderr.
//
// It never calls libvirt, which would deadlock, and leaves no child behind, for which libvirt would wait.
#include <poll.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <string_view>

#include "hook/deadline_io.h"
#include "hook/message.h"

#ifndef PVSCHED_VERSION_TEXT
#define PVSCHED_VERSION_TEXT "unknown"
#endif

namespace {

using namespace pvsched;  // NOLINT: the program's own
using namespace pvsched::hook;  // NOLINT

constexpr std::string_view kUri = "https://pvsched.org/xmlns/libvirt/domain/1.0";
constexpr const char* kDefaultSocket = "/run/pvsched/pvschedd.sock";
constexpr std::size_t kMaxXmlBytes = 8 << 20;  // as the reader's; escaped, it fits pvschedd's longest line
constexpr unsigned kDeadlineMs = 300;
constexpr suseconds_t kBackstopUs = 350000;
constexpr char kBackstopText[] = "pvsched: the hook's time is over; going on without pvschedd\n";

/// Whatever the rest does, or waits for: the process ends.
extern "C" void on_backstop(int) {
  pollfd err{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
  if (poll(&err, 1, 0) > 0 && write(STDERR_FILENO, kBackstopText, sizeof(kBackstopText) - 1) < 0) _exit(0);
  _exit(0);
}

void arm_backstop() {
  struct sigaction action {};
  action.sa_handler = on_backstop;
  sigaction(SIGALRM, &action, nullptr);
  sigset_t alarm;
  sigemptyset(&alarm);
  sigaddset(&alarm, SIGALRM);
  sigprocmask(SIG_UNBLOCK, &alarm, nullptr);  // a parent may have left it blocked
  itimerval timer{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_usec = kBackstopUs}};
  setitimer(ITIMER_REAL, &timer, nullptr);
  signal(SIGPIPE, SIG_IGN);  // NOLINT: stderr may be closed
}

Result<Reply> ask(const std::string& socket_path, const Call& call, const Deadline& deadline) {
  auto socket = connect_unix(socket_path, deadline);
  if (!socket) return socket.error();
  Status sent = send_all(socket->get(), request_line(call), deadline);
  // pvschedd may answer before it has read everything, and hang up: its answer counts.
  if (!sent && sent.error().code() != EPIPE && sent.error().code() != ECONNRESET) return sent.error().in("pvschedd");
  auto line = receive_line(socket->get(), kMaxReplyBytes, deadline);
  if (!line) return line.error().in("pvschedd");
  auto reply = read_reply(*line);
  if (!reply) return reply.error().in("pvschedd");
  return reply;
}

/// No status that a shell, the loader or a crash gives: the stub lets only this one refuse a start.
constexpr int kRefused = 77;

/// The exit code.
int forward(const std::string& socket_path, Call call, const Deadline& deadline) {
  auto say = [&](std::string_view text) {
    std::string line = "pvsched: VM " + one_line(call.name, 200) + ": " + one_line(text) + "\n";
    write_if_ready(STDERR_FILENO, line, deadline);
  };
  auto go_on = [&](const Error& error) {
    say(error.text() + "; going on without pvschedd");
    return 0;
  };
  auto xml = read_all(STDIN_FILENO, kMaxXmlBytes, deadline);
  if (!xml) return go_on(xml.error().in("domain XML"));
  if (!xml->empty() && xml->find(kUri) == std::string::npos) return 0;
  call.xml = *xml;
  auto reply = ask(socket_path, call, deadline);
  if (!reply) return go_on(reply.error());
  for (const std::string& warning : reply->warnings) say(warning);
  if (reply->ok) return 0;
  say(reply->message.empty() ? "pvschedd refuses without a reason" : reply->message);
  return may_refuse(call.operation) ? kRefused : 0;
}

}  // namespace

int main(int argc, char** argv) {
  // The count tells the form: a VM may be named "--socket".
  bool with_socket = argc == 7 && std::string_view(argv[1]) == "--socket";
  if (argc == 2 && std::string_view(argv[1]) == "--version") {
    return write(STDOUT_FILENO, "pvsched-hook " PVSCHED_VERSION_TEXT "\n",
                 sizeof("pvsched-hook " PVSCHED_VERSION_TEXT "\n") - 1) < 0;
  }
  if (argc != 5 && !with_socket) {
    write_if_ready(STDERR_FILENO, "usage: pvsched-hook [--socket PATH] NAME OPERATION SUB EXTRA < domain.xml\n",
                   Deadline(kDeadlineMs));
    return 0;
  }
  char** args = with_socket ? argv + 3 : argv + 1;
  if (!forwards(args[1])) return 0;
  arm_backstop();
  Deadline deadline(kDeadlineMs);
  try {
    return forward(with_socket ? argv[2] : kDefaultSocket,
                   {.name = args[0], .operation = args[1], .sub = args[2], .extra = args[3], .xml = {}}, deadline);
  } catch (...) {
    return 0;  // out of memory: no reason to stop a VM
  }
}
