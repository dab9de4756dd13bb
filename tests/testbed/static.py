# SPDX-License-Identifier: GPL-2.0-or-later
"""What people do today: a static real-time priority for the vCPU thread, with all the run time there is."""
import contextlib
import os

from .util import read, write


def rt_groups(tid):
    """Folders of a thread's cpu cgroup (v1) from the top down, where real-time run time is bounded; else []."""
    root = next((d for d in ("/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct")
                 if os.path.exists(f"{d}/cpu.rt_runtime_us")), None)
    if not root:
        return []
    line = next(l for l in read(f"/proc/{tid}/cgroup").splitlines() if "cpu" in l.split(":")[1].split(","))
    parts = [p for p in line.split(":", 2)[2].split("/") if p]
    return [os.path.join(root, *parts[:i + 1]) for i in range(len(parts))]


@contextlib.contextmanager
def static_fifo(tid, priority=50):
    """SCHED_FIFO for the thread; its attributes and its cgroups' run time are put back at the end."""
    policy, param = os.sched_getscheduler(tid), os.sched_getparam(tid)
    groups = rt_groups(tid)
    before = [(g, read(f"{g}/cpu.rt_runtime_us")) for g in groups]
    top = read("/proc/sys/kernel/sched_rt_runtime_us")
    try:
        for group in groups:
            write(f"{group}/cpu.rt_runtime_us", top)
        os.sched_setscheduler(tid, os.SCHED_FIFO, os.sched_param(priority))
        yield
    finally:
        os.sched_setscheduler(tid, policy, param)
        for group, value in reversed(before):
            write(f"{group}/cpu.rt_runtime_us", value)
