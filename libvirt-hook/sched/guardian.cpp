// SPDX-License-Identifier: GPL-2.0-or-later
#include "sched/guardian.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

extern "C" {
#include <sys/pidfd.h>  // glibc 2.36 forgot its own extern "C"
}

namespace pvsched {

Result<Guardian> Guardian::start(const std::string& executable, const Baselines& baselines) {
  Guardian guardian;
  guardian.executable_ = executable;
  guardian.table_ = baselines.fd();
  guardian.self_.reset(pidfd_open(getpid(), 0));
  guardian.wake_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!guardian.self_ || !guardian.wake_) return Error::system("cannot make the guardian's descriptors");
  if (auto status = guardian.spawn(); !status) return status.error();
  return guardian;
}

Status Guardian::spawn() {
  // The child finds table, pvschedd's pidfd and the eventfd as descriptors 3, 4 and 5.
  int fds[3] = {fcntl(table_, F_DUPFD_CLOEXEC, 10), fcntl(self_.get(), F_DUPFD_CLOEXEC, 10),
                fcntl(wake_.get(), F_DUPFD_CLOEXEC, 10)};
  Fd keep[3] = {Fd(fds[0]), Fd(fds[1]), Fd(fds[2])};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (int i = 0; i < 3; ++i) posix_spawn_file_actions_adddup2(&actions, fds[i], 3 + i);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
  std::string name = "pvsched-guardian";
  char* arguments[] = {name.data(), nullptr};
  char* environment[] = {nullptr};
  int err = posix_spawn(&pid_, executable_.c_str(), &actions, &attributes, arguments, environment);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (err) return Error::system("cannot run " + executable_, err);
  pidfd_.reset(pidfd_open(pid_, 0));
  if (!pidfd_) return Error::system("cannot watch the guardian");
  return {};
}

void Guardian::wake() {
  std::uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof(one));
}

bool Guardian::respawn() {
  waitpid(pid_, nullptr, WNOHANG);
  bool running = static_cast<bool>(spawn());
  if (running) wake();
  return running;
}

}  // namespace pvsched
