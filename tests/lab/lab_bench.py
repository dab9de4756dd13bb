# SPDX-License-Identifier: GPL-2.0-or-later
"""The evaluation's bench (evaluation/bench.py) in the lab's host: guests under KVM, served by one pvschedd."""
import contextlib
import os
import re
import subprocess
import threading
import time

from lab.evaluation import parse
from lab.evaluation.bench import StressNg, run_delay
from rig import COUNTED, LIMITS, Rig
from testbed.host import qemu_version
from testbed.checks import check
from testbed.util import Skip, read, thread_seconds, write

CLOCK = ("So is the hardware that its KVM uses: a guest's instruction takes some 20 times as long. The limits are "
         "stretched accordingly.")
if COUNTED:
    CLOCK = (f"Its time goes by instructions, {2 ** int(os.environ['PVSCHED_LAB_ICOUNT'])} ns for each, whatever the "
             "machine below does: a path costs what it has instructions; memory, devices and switches of address "
             "spaces cost nothing.")
STATIC_PRIORITY = 50  # of the static mode: what the dynamic one gives a task at most
TRACE = "/sys/kernel/tracing/trace"
CGROUPS = "/sys/fs/cgroup"


class BenchGuest:
    """A LinuxGuest for several threads: its one command channel is taken in turn."""

    def __init__(self, guest):
        self.guest = guest
        self._channel = threading.Lock()

    def run(self, command: str, timeout: float) -> tuple[int, str]:
        """Runs a shell command in the guest: (exit status, output)."""
        with self._channel:
            return self.guest.try_run(command, timeout)


class LabBench:
    """What the measurements need, see evaluation/bench.py."""

    def __init__(self, rig: Rig, guests: list):
        self.rig = rig
        self.guests = [BenchGuest(guest) for guest in guests]
        self.sources = [s["name"] for s in rig.daemon.status()["sources"] if s["available"]]

    def host_run(self, command: str, timeout: float) -> tuple[int, str]:
        """As in the guest, here."""
        done = subprocess.run(["sh", "-c", command], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=timeout, check=False)
        return done.returncode, done.stdout

    @contextlib.contextmanager
    def mode(self, name: str):
        """vanilla: the policy off; dynamic: on; static: off, and every vCPU thread SCHED_FIFO."""
        inner = [guest.guest for guest in self.guests]
        for guest in inner:
            self.rig.daemon.ctl("enable" if name == "dynamic" else "disable", guest.name)
        tids = [tid for guest in inner for tid in guest.tids()] if name == "static" else []
        for tid in tids:
            os.sched_setscheduler(tid, os.SCHED_FIFO, os.sched_param(STATIC_PRIORITY))
        try:
            yield
        finally:
            for tid in tids:
                with contextlib.suppress(ProcessLookupError):  # a guest that died is told of by what it was to do
                    os.sched_setscheduler(tid, os.SCHED_OTHER, os.sched_param(0))

    @contextlib.contextmanager
    def tagged(self, on: bool):
        """The first guest foreground, the second background; or no tags."""
        names = ("foreground", "background") if on else ("none", "none")
        for guest, name in zip(self.guests, names):
            self.rig.daemon.ctl("tag", "set", "vm", guest.guest.name, name)
        yield

    def cpu_seconds(self, seconds: float) -> list[float]:
        """Time on a CPU that each guest's vCPU threads have together in the next `seconds`."""
        tids = [guest.guest.tids() for guest in self.guests]

        def had():
            return [sum(map(thread_seconds, of)) for of in tids]
        before = had()
        time.sleep(seconds)  # the length of the measurement
        return [now - then for now, then in zip(had(), before)]

    @contextlib.contextmanager
    def actuator(self, name: str):
        """What carries decisions out, by pvschedd's own switch."""
        if name == "scx" and not os.path.exists("/sys/kernel/sched_ext"):
            raise Skip("this kernel has no sched_ext")
        self.rig.daemon.ctl("actuator", name)
        try:
            yield
            status = self.rig.daemon.status()
            check(status["actuator"] == name, f"{name} did not last: {status['actuator_reason']}")
        finally:
            self.rig.daemon.ctl("actuator", "setattr")

    def account(self) -> dict:
        """Of the first guest's vCPUs."""
        stats = self.rig.stats(self.guests[0].guest)
        out = {name: sum(s[name] for s in stats) for name in ("applies", "decisions")}
        for name, histogram in (("effect", "event_to_applied"), ("run", "raise_to_run")):
            out[name] = [sum(counts) for counts in zip(*(s[histogram]["log2_ns"] for s in stats))]
        return out

    def load(self) -> StressNg:
        """The co-tenants."""
        return StressNg()

    @contextlib.contextmanager
    def policy(self, name: str):
        """The first guest served by that policy."""
        guest = self.guests[0].guest
        self.serve_with(guest, f'<policy name="{name}"/>')
        try:
            served = self.rig.daemon.vm(guest.name)["policy"]
            check(served == name, f"{guest.name} is served by {served}, not by {name}")
            yield
        finally:
            self._serve(guest, self.rig.limits)

    def boosted_ms(self) -> float:
        """Run time with a boost of the first guest's vCPUs."""
        return sum(sum(s["boosted_ms"].values()) for s in self.rig.stats(self.guests[0].guest))

    @contextlib.contextmanager
    def driver(self, loaded: bool):
        """The first guest with its driver or without; it has it again afterwards."""
        guest = self.guests[0].guest
        if not loaded:
            guest.run("rmmod pvsched")
        try:
            yield
        finally:
            if not loaded:
                self.rig.load(guest)

    def run_delay(self) -> tuple[int, int]:
        """Of the first guest's vCPU threads."""
        return run_delay(self.guests[0].guest.tids())

    def hooks(self) -> list[dict]:
        """Calls and code size of each hook of the driver."""
        guest = self.guests[0].guest
        guest.run("echo 1 >/sys/kernel/debug/pvsched/enable; perf bench -f simple sched pipe -l 500", 120)
        text = guest.run("cat /sys/kernel/debug/pvsched/stats; echo 0 >/sys/kernel/debug/pvsched/enable")
        calls: dict[str, int] = {}
        for name, count in re.findall(r"(\w+)=(\d+)", text):
            calls[name] = calls.get(name, 0) + int(count)
        names = ("switches", "wakeups", "irqs", "softirqs", "nmis", "preempt_offs", "user_entries")
        return [{"hook": name, "calls": calls[name]} for name in names if name in calls]

    @contextlib.contextmanager
    def boosts(self):
        """Decisions from the kernel's trace: the guest is served with debug level 1 meanwhile."""
        guest = self.guests[0].guest
        found: list = []
        self.serve_with(guest, '<debug level="1"/>')
        write(TRACE, "")
        try:
            yield found
        finally:
            found += parse.boost_trace(read(TRACE))
            self._serve(guest, self.rig.limits)

    def serve_with(self, guest, inside: str):
        """Has pvschedd serve the guest with something more in its element."""
        limits = os.path.join(self.rig.host.dir, "more.xml")
        write(limits, LIMITS.replace("</pvsched>", f"  {inside}\n</pvsched>"))
        self._serve(guest, limits)

    def _serve(self, guest, limits: str):
        self.rig.daemon.ctl("detach", "--qmp", guest.qmp_path)
        self.rig.daemon.ctl("attach", "--qmp", guest.qmp_path, "--name", guest.name, "--limits", limits)
        self.rig.daemon.wait_active(guest.name, device=True)
        self.rig.wait_bound(guest)

    def context(self) -> dict:
        """What belongs to every figure."""
        limits = re.sub(r"\s+", " ", re.sub(r'\s*xmlns="[^"]*"', "", LIMITS)).strip()
        return {"qemu": qemu_version(), "guest_kernel": self.rig.kernel.release,
                "actuator": self.rig.daemon.status()["actuator"],
                "notes": [f"The host is emulated (TCG). {CLOCK} The element: {limits}"]}


@contextlib.contextmanager
def cgroup(guest):
    """Context: the guest's QEMU in a cgroup of its own, as libvirt does it."""
    write(os.path.join(CGROUPS, "cgroup.subtree_control"), "+cpu")
    path = os.path.join(CGROUPS, guest.name)
    os.makedirs(path, exist_ok=True)
    write(os.path.join(path, "cgroup.procs"), guest.pid)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            write(os.path.join(CGROUPS, "cgroup.procs"), guest.pid)
        os.rmdir(path)


@contextlib.contextmanager
def open_bench(rig: Rig, measurement):
    """Context: a bench with the guests that a measurement asks for."""
    with contextlib.ExitStack() as stack:
        where = os.cpu_count() - 1 if measurement.same_cpu else None
        limits = rig.sharing if measurement.sharing else rig.limits
        guests = [stack.enter_context(rig.guest(f"bench{i}", cpus=measurement.vcpus, host_cpu=where, limits=limits))
                  for i in range(measurement.guests)]
        try:
            bench = LabBench(rig, guests)
            for guest in guests if measurement.policy else ():
                stack.enter_context(cgroup(guest))
                bench.serve_with(guest, f'<policy name="{measurement.policy}"/>')
            yield bench
        except Exception:
            for guest in guests:
                guest.check_alive()  # whatever failed, it is because the guest is gone
            raise
