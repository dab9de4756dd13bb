# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite's cases of the actuator scx: a Linux guest served through the sched_ext scheduler, which is then ended in
each way that there is."""
import contextlib
import os
import re
import signal
import subprocess
import time

from rig import check_well, rig_of
from testbed.attr import policy, threads
from testbed.checks import check, say
from testbed.load import Hogs
from testbed.util import Skip, alive, read, run, setting, wait_for, write

SCHED_EXT = "/sys/kernel/sched_ext"
TRACING = "/sys/kernel/tracing"
NAME = "pvsched"  # the scheduler's; kernels add to it
IN_FORCE_SECONDS = 1.0  # within which setattr serves after the scheduler has ended


def kernel_state() -> str:
    """"enabled", "disabled" or in between."""
    return read(f"{SCHED_EXT}/state", "")


def kernel_ops() -> str:
    """Name of the scheduler that is loaded."""
    return read(f"{SCHED_EXT}/root/ops", "")


@contextlib.contextmanager
def chosen(bench):
    """Context: scx is the actuator; setattr again afterwards."""
    if not kernel_state():
        raise Skip("this kernel has no sched_ext")
    bench.daemon.ctl("actuator", "scx")
    try:
        yield
    finally:
        bench.daemon.ctl("actuator", "setattr")


def check_in_force(bench, name="scx"):
    """Fails unless this is the actuator, by pvschedd's word and by the kernel's."""
    status = bench.daemon.status()
    check(status["actuator"] == name, f"actuator {status['actuator']}: {status['actuator_reason']}")
    check((kernel_state() == "enabled") == (name == "scx"), f"the kernel says {kernel_state()} {kernel_ops()}; its log "
          "ends with: " + "; ".join(re.findall(r"sched_ext: .*", run("dmesg").stdout)[-3:]))


class Calls:
    """Context: counts sched_setattr(2) of a process; `count` when it ends."""

    def __init__(self, pid):
        self.pid, self.count = pid, None
        self.event = f"{TRACING}/events/syscalls/sys_enter_sched_setattr"

    def __enter__(self):
        write(f"{TRACING}/trace", "")
        write(f"{self.event}/enable", 1)
        return self

    def __exit__(self, *_):
        write(f"{self.event}/enable", 0)
        tids = {str(tid) for tid in threads(self.pid)}
        lines = [line for line in read(f"{TRACING}/trace").splitlines() if "sched_setattr(" in line]
        self.count = sum(line.split("[")[0].strip().rsplit("-", 1)[1] in tids for line in lines)


def totals(rig, guest) -> dict:
    """Of all vCPUs: decisions carried out, and system calls for that."""
    stats = rig.stats(guest)
    return {"carried out": sum(s["event_to_applied"]["count"] for s in stats),
            "setattr": sum(s["applies"] for s in stats)}


def scx_boosts(bench):
    """Decisions take effect in the kernel: a guest is boosted, without one sched_setattr."""
    r = rig_of(bench)
    with chosen(bench), r.guest("scx", cpus=1) as guest:
        check_in_force(bench)
        with Calls(bench.daemon.pid) as calls:
            r.check_boosted(guest)
        done = totals(r, guest)
        say(f"{kernel_ops()}: {done}, system calls counted {calls.count}")
        check(done["carried out"] > 0, "no decision was carried out")
        check(done["setattr"] == 0 and calls.count == 0, f"sched_setattr was called: {calls.count}")
        bench.daemon.ctl("actuator", "setattr")
        check_in_force(bench, "setattr")
        with Calls(bench.daemon.pid) as calls:
            r.check_boosted(guest)
        say(f"then by setattr: {totals(r, guest)}, system calls counted {calls.count}")
        check(calls.count > 0, "the count sees no sched_setattr")
        bench.daemon.ctl("actuator", "scx")
        check_in_force(bench)
        r.check_boosted(guest)
        check_well(guest)
    check(kernel_state() == "disabled", "the scheduler is in force and no VM is served")


@contextlib.contextmanager
def urgent(guest):
    """Context: the guest's first vCPU is wanted boosted whenever it waits, among co-tenants on CPU 1."""
    tid = guest.tids()[0]
    allowed = os.sched_getaffinity(tid)
    os.sched_setaffinity(tid, {1})
    guest.run("chrt -f 20 taskset 1 sh -c 'while :; do :; done' & echo $! >/tmp/spinner")
    try:
        with Hogs(1, 2):
            yield tid
    finally:
        os.sched_setaffinity(tid, allowed)
        guest.try_run("kill -9 $(cat /tmp/spinner)")


def check_falls_back(bench, guest, tid, what, end):
    """Ends the scheduler by `end()` and fails unless setattr serves soon after."""
    check(policy(tid) == os.SCHED_OTHER, "a vCPU thread is real-time while scx is in force")
    end()
    wait_for("the kernel ends the scheduler", lambda: kernel_state() == "disabled", 60, 0.001)
    begin = time.monotonic()
    wait_for(f"setattr serves after {what}", lambda: policy(tid) == os.SCHED_FIFO, IN_FORCE_SECONDS, 0.001)
    seconds = time.monotonic() - begin
    status = bench.daemon.status()
    say(f"{what}: setattr after {seconds * 1000:.0f} ms: {status['actuator_reason']}")
    check(status["actuator"] == "setattr" and status["actuator_reason"], f"status: {status['actuator']}")
    wait_for("the log says so", lambda: "actuator setattr instead of scx" in bench.daemon.log(), 5, 0.1)
    guest.run("true")
    check_well(guest)


def scx_sysrq(bench):
    """SysRq-S ends the scheduler: setattr serves, and does so until the administrator asks for scx again."""
    r = rig_of(bench)
    with chosen(bench), r.guest("sysrq", cpus=1) as guest:
        check_in_force(bench)
        with urgent(guest) as tid:
            check_falls_back(bench, guest, tid, "SysRq-S", lambda: write("/proc/sysrq-trigger", "S"))
        bench.daemon.ctl("detach", "--qmp", guest.qmp_path)
        with r.served(guest):
            check_in_force(bench, "setattr")
            bench.daemon.ctl("actuator", "scx")
            check_in_force(bench)
            r.check_boosted(guest)


@contextlib.contextmanager
def starved(cpu):
    """Context: a real-time task that lets nothing fair run on a CPU while a sched_ext scheduler is in force, half a
    minute at most: what else the kernel waits for there would be held up, too."""
    pid = os.fork()
    if pid == 0:
        os.sched_setaffinity(0, {cpu})
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        end = time.monotonic() + 30
        while kernel_state() == "enabled" and time.monotonic() < end:
            pass
        os._exit(0)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def scx_stalled(bench):
    """A task that is never run has the kernel's watchdog end the scheduler: setattr serves."""
    r = rig_of(bench)
    with chosen(bench), contextlib.ExitStack() as stack, r.guest("stalled", cpus=1) as guest:
        check_in_force(bench)
        # None of the kernel's nets for what real-time tasks keep from running.
        stack.enter_context(setting("/proc/sys/kernel/sched_rt_runtime_us", -1))
        for server in ("ext", "fair"):
            path = f"/sys/kernel/debug/sched/{server}_server/cpu1/runtime"
            if os.path.exists(path):
                stack.enter_context(setting(path, 0))
        with urgent(guest) as tid:
            check_falls_back(bench, guest, tid, "a stall", lambda: stack.enter_context(starved(1)))
        check("stall" in bench.daemon.status()["actuator_reason"], "it was not the watchdog that has ended it")


def scx_daemon_killed(bench):
    """pvschedd dies: the kernel's scheduler is back at once, the guest runs on; the next pvschedd picks both up."""
    r = rig_of(bench)
    with chosen(bench), r.guest("orphan", cpus=1) as guest:
        check_in_force(bench)
        bench.daemon.kill(signal.SIGKILL)
        wait_for("the kernel's scheduler is back", lambda: kernel_state() == "disabled", IN_FORCE_SECONDS, 0.001)
        bench.daemon.reap()
        guest.run("true")
        bench.daemon.start()
        bench.daemon.ctl("actuator", "scx")
        with r.served(guest):
            check_in_force(bench)
            r.wait_bound(guest)
            r.check_boosted(guest)
            check_well(guest)


def scx_not_displaced(bench):
    """Another scheduler is loaded: it is left alone, setattr serves and says why."""
    r = rig_of(bench)
    if not kernel_state():
        raise Skip("this kernel has no sched_ext")
    build = bench.host.build
    other = subprocess.Popen([os.path.join(build.top, "tests/bpf/scx_run"), build.scheduler, "run", "sleep", "1000"],
                             stdout=subprocess.DEVNULL)
    try:
        wait_for("the other scheduler is in force", lambda: kernel_state() == "enabled", 60, 0.05)
        with chosen(bench), r.guest("second", cpus=1) as guest:
            status = bench.daemon.status()
            say(status["actuator_reason"])
            check(status["actuator"] == "setattr", "scx is in force beside another scheduler")
            check("another sched_ext scheduler" in status["actuator_reason"], "no reason is given")
            check(kernel_state() == "enabled" and alive(other.pid), "the other scheduler was displaced")
            check(totals(r, guest)["carried out"] >= 0, "the guest is not served")
    finally:
        for pid in threads_of_children(other.pid) + [other.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        other.wait()


def threads_of_children(pid) -> list[int]:
    """The processes that a process has started."""
    return [int(child) for child in read(f"/proc/{pid}/task/{pid}/children", "").split()]


CASES = [scx_boosts, scx_sysrq, scx_stalled, scx_daemon_killed, scx_not_displaced]
