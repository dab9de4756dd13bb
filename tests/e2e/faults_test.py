#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Whoever dies or stalls, every thread comes back to its exact baseline and the VM runs on."""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from testbed.attr import attributes, policy  # noqa: E402
from testbed.checks import check, main, say  # noqa: E402
from testbed.host import virsh  # noqa: E402
from testbed.rogue import Rogue  # noqa: E402
from testbed.util import alive, processes, wait_for  # noqa: E402

# A long budget and a short throttle: boosted nearly all the time.
METADATA = """<p:pvsched xmlns:p="https://pvsched.org/xmlns/libvirt/domain/1.0">
  <p:boost critical="400" total="500" unit="ms"/><p:throttle duration="1" unit="ms"/></p:pvsched>"""


class Watched(Rogue):
    """A rogue whose thread's baseline is read before pvsched may touch it."""

    def __init__(self, bench):
        super().__init__(bench, "pvsched-test-faults", METADATA)

    def before(self):
        self.bench.daemon.ctl("disable")

    def started(self):
        self.baseline = attributes(self.tid)

    def served(self):
        self.bench.daemon.ctl("enable")

    def until_restored(self, seconds=5):
        """Milliseconds until the thread has its exact baseline again."""
        begin = time.monotonic()
        wait_for("the baseline", lambda: attributes(self.tid) == self.baseline, seconds, 0.0005)
        return (time.monotonic() - begin) * 1000


def daemon_killed(bench):
    """kill -9 of pvschedd while boosted, again and again; the next one picks the VM up."""
    times = []
    with Watched(bench) as rogue:
        for _ in range(bench.options.repeat):
            rogue.wait_boosted()
            bench.daemon.kill()
            times.append(rogue.until_restored())
            bench.daemon.reap()
            check(alive(rogue.domain.pid()), "QEMU died with pvschedd")
            bench.daemon.start()
            bench.daemon.wait_active(rogue.domain.name, device=True)
        rogue.wait_boosted()
    times.sort()
    say(f"{len(times)} kills: restored after p50 {times[len(times) // 2]:.1f} ms, max {times[-1]:.1f} ms")


def daemon_stopped(bench):
    """SIGSTOP for longer than the lease: restored meanwhile, boosted again after SIGCONT."""
    times = []
    with Watched(bench) as rogue:
        for _ in range(max(1, bench.options.repeat // 10)):
            rogue.wait_boosted()
            bench.daemon.kill(signal.SIGSTOP)
            try:
                times.append(rogue.until_restored())
            finally:
                bench.daemon.kill(signal.SIGCONT)
            rogue.wait_boosted()
    say(f"restored {max(times):.1f} ms after SIGSTOP at the latest (the lease is 200 ms)")


def guardian_killed(bench):
    """kill -9 of the guardian: another takes its place and does its work."""
    with Watched(bench) as rogue:
        old = processes("pvsched-guardian")
        check(len(old) == 1, f"one guardian expected, found {old}")
        os.kill(old[0], signal.SIGKILL)
        wait_for("a new guardian", lambda: [p for p in processes("pvsched-guardian") if p not in old and alive(p)], 5)
        rogue.wait_boosted()
        bench.daemon.kill()
        rogue.until_restored()
        bench.daemon.reap()
        bench.daemon.start()


def qemu_killed(bench):
    """kill -9 of QEMU while boosted: the session ends, pvschedd goes on."""
    with Watched(bench) as rogue:
        rogue.wait_boosted()
        os.kill(rogue.domain.pid(), signal.SIGKILL)
        wait_for("the session's end", lambda: bench.daemon.vm(rogue.domain.name) is None, 10, 0.05)
        check(alive(bench.daemon.pid), "pvschedd died with QEMU")


def libvirtd_restarted(bench):
    """libvirtd goes and comes back: the VM stays boosted, changes of its metadata count afterwards."""
    with Watched(bench) as rogue:
        bench.host.restart_libvirtd()
        rogue.wait_boosted()
        virsh("metadata", rogue.domain.name, "https://pvsched.org/xmlns/libvirt/domain/1.0", "--live", "--key", "p",
              "--set", '<pvsched enabled="no"/>')
        rogue.until_restored(30)


def daemon_ends_orderly(bench):
    """SIGTERM: baselines at once, and the VM is picked up at the next start."""
    with Watched(bench) as rogue:
        rogue.wait_boosted()
        bench.daemon.stop()
        check(attributes(rogue.tid) == rogue.baseline, "the thread is not at its baseline after an orderly stop")
        bench.daemon.start()
        bench.daemon.wait_active(rogue.domain.name, device=True)
        rogue.wait_boosted()


def administrators_chrt_wins(bench):
    """chrt on a vCPU thread is left alone, and control comes back with the baseline."""
    with Watched(bench) as rogue:
        rogue.wait_boosted()
        os.sched_setscheduler(rogue.tid, os.SCHED_RR, os.sched_param(3))
        wait_for("pvschedd notices", lambda: bench.daemon.vm(rogue.domain.name)["vcpus"][0]["foreign"], 10, 0.05)
        check(policy(rogue.tid) == os.SCHED_RR, "the administrator's setting was changed")
        os.sched_setscheduler(rogue.tid, os.SCHED_OTHER, os.sched_param(0))
        wait_for("boosts go on", lambda: policy(rogue.tid) == os.SCHED_FIFO, 10, 0.0005)


main([daemon_killed, daemon_stopped, guardian_killed, qemu_killed, libvirtd_restarted, daemon_ends_orderly,
      administrators_chrt_wins],
     lambda parser: parser.add_argument("--repeat", type=int, default=5, help="kills of pvschedd"))
