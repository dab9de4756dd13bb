# SPDX-License-Identifier: GPL-2.0-or-later
"""What the cases with Linux guests share: their image with the driver, a guest that pvschedd serves, boosts seen."""
import contextlib
import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import kernels  # noqa: E402
import modules  # noqa: E402
from linux_guest import PROGRAMS, LinuxGuest, image  # noqa: E402
from testbed.domain import NAMESPACE  # noqa: E402
from testbed.load import Hogs  # noqa: E402
from testbed.util import Failure, thread_seconds, wait_for, write  # noqa: E402

DEVICE = "/sys/bus/pci/drivers/pvsched/0*"  # in the guest: the one device that is bound
COUNTED = bool(os.environ.get("PVSCHED_LAB_ICOUNT"))  # the host's time goes by instructions
TIMES = """<boost critical="10" total="500" unit="ms"/>"""
if not COUNTED:  # an emulated guest does in 20 us what a real one does in 1: budgets stretch with it
    TIMES = """<boost critical="40" total="900" unit="ms"/>
  <throttle duration="50" unit="ms"/>
  <hold time="10" unit="ms"/>
  <inject time="10" unit="ms"/>"""
LIMITS = f"""<pvsched xmlns="{NAMESPACE}">
  <priority policy="fifo" max="50" critical="60"/>
  {TIMES}
</pvsched>
"""
SHARING = LIMITS.replace("</pvsched>", """  <placement share="yes"/>\n</pvsched>""")  # R11


def guest_image(kernel, builddir) -> Path:
    """The guests' image with the driver, built for the kernel, its test and the build's measuring programs."""
    programs = Path(builddir, "tests/lab/programs")
    return image(kernel, PROGRAMS, {"pvsched.ko": modules.build(kernel),
                                    "bin/selftest.sh": HERE.parents[1] / "guest/linux/tests/selftest.sh",
                                    **{f"bin/{name}": programs / name
                                       for name in ("glitch", "lockholder", "placement")}})


class Rig:
    """Guests of one kernel on this machine or in the lab's host, served by one pvschedd."""

    def __init__(self, bench, accel: str | None = None):
        self.host, self.daemon, self.options = bench.host, bench.daemon, bench.options
        self.accel = accel or self.host.accel
        self.kernel = kernels.fetch(self.options.kernel)
        self.initrd = guest_image(self.kernel, self.options.builddir)
        self.limits = os.path.join(self.host.dir, "limits.xml")
        write(self.limits, LIMITS)
        self.sharing = os.path.join(self.host.dir, "sharing.xml")
        write(self.sharing, SHARING)

    @contextlib.contextmanager
    def guest(self, name="linux", cpus=2, driver="bar", host_cpu=None, limits=None, **more):
        """Context: a running guest that pvschedd serves. `driver`: the transport it is loaded with, or None.
        `host_cpu`: where all its vCPUs are pinned. `limits`: the file of its element, if not the usual one."""
        with LinuxGuest(self.kernel, self.initrd, name=name, accel=self.accel, cpus=cpus,
                        plugin=self.host.plugin, **more) as guest:
            self.pin(guest, host_cpu)
            with self.served(guest, limits):
                if driver:
                    self.load(guest, driver)
                yield guest

    @staticmethod
    def pin(guest, host_cpu):
        """Pins the vCPU threads to one CPU of the host."""
        for tid in guest.tids() if host_cpu is not None else ():
            os.sched_setaffinity(tid, {host_cpu})

    @contextlib.contextmanager
    def served(self, guest, limits=None):
        """Context: pvschedd serves the guest."""
        self.daemon.ctl("attach", "--qmp", guest.qmp_path, "--name", guest.name, "--limits", limits or self.limits)
        try:
            self.daemon.wait_active(guest.name, device=True)
            yield
        finally:
            self.daemon.ctl("detach", "--qmp", guest.qmp_path, check=False)

    def load(self, guest, transport="bar"):
        """Loads the driver and waits until it tells."""
        guest.run(f"insmod /pvsched.ko transport={transport}")
        self.wait_bound(guest)

    @staticmethod
    def wait_bound(guest, seconds=30):
        """Waits until the guest's driver has areas."""
        wait_for(f"the driver of {guest.name} has areas",
                 lambda: guest.try_run(f"cat {DEVICE}/pvsched/bound") == (0, "1"), seconds, 0.1)

    def stats(self, guest) -> list[dict]:
        """The policy's account of each vCPU that it serves."""
        return [vcpu["stats"] for vcpu in self.daemon.vm(guest.name)["vcpus"] if "stats" in vcpu]

    def boosts(self, guest, kind="task", vcpu=0) -> int:
        """How many boosts of a class a vCPU has had."""
        return self.stats(guest)[vcpu]["boosts"][kind]

    def check_boosted(self, guest, seconds=30):
        """Fails unless a real-time task in the guest gets its vCPU boosted against co-tenants, so that in a second it
        has more of the CPU than both; its fair part is a third."""
        before = self.boosts(guest)
        tid = guest.tids()[0]
        allowed = os.sched_getaffinity(tid)
        os.sched_setaffinity(tid, {1})
        try:
            with Hogs(1, 2):
                guest.run("chrt -f 20 taskset 1 sh -c 'while :; do :; done' & echo $! >/tmp/spinner")
                wait_for(f"a task boost of {guest.name}", lambda: self.boosts(guest) > before, seconds, 0.2)
                wait_for(f"{guest.name} has more of the CPU than its co-tenants",
                         lambda: _had(tid, 1) > 0.5, seconds, 0)
        finally:
            os.sched_setaffinity(tid, allowed)
            guest.try_run("kill -9 $(cat /tmp/spinner)")


def _had(tid, seconds):
    """The part of a CPU that a thread has during the next seconds."""
    begin, before = time.monotonic(), thread_seconds(tid)
    time.sleep(seconds)  # the length of the measurement
    return (thread_seconds(tid) - before) / (time.monotonic() - begin)


def check_well(guest):
    """Fails if the guest's kernel complained."""
    found = guest.oops()
    if found:
        raise Failure(f"the kernel of {guest.name} complains: {found[:1500]}")


def rig_of(bench) -> Rig:
    """The rig of a suite, made once: building the driver and the image takes time."""
    if not hasattr(bench.host, "rig"):
        # One thread for all vCPUs: with several, QEMU 7.2 has been seen to run code that the guest had patched already
        # (an int3 of the kernel's text patching, without our module too).
        accel = "tcg,thread=single" if bench.options.accel == "tcg" else bench.options.accel
        bench.host.rig = Rig(bench, accel)
    return bench.host.rig
