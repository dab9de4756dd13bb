# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite's cases of what the sched_ext scheduler does to tasks: shares by cgroup, preferred CPUs; and that it lasts
under load."""
import contextlib
import os
import time

from rig import LIMITS, check_well, rig_of
from scx_cases import check_in_force, chosen, totals
from testbed.checks import check, say
from testbed.load import Hogs
from testbed.util import read, run, thread_seconds, wait_for, write

CGROUPS = "/sys/fs/cgroup"
SPINNER = "sh -c 'while :; do :; done' >/dev/null & echo $! >/tmp/spinner"  # in the guest
SECONDS = 45  # of each load
LOADS = ("--aggressive -M -c {cpus} -f {cpus} --affinity 1",
         "--cpu {cpus} --iomix 1 --vm 1 --vm-bytes 64M --fork 1 --switch 2 --pipe 2 --schedpolicy 1")


@contextlib.contextmanager
def group(name, weight):
    """Context: a cgroup with a weight; its path."""
    path = os.path.join(CGROUPS, name)
    write(os.path.join(CGROUPS, "cgroup.subtree_control"), "+cpu")
    os.makedirs(path, exist_ok=True)
    write(os.path.join(path, "cpu.weight"), weight)
    try:
        yield path
    finally:
        wait_for(f"nobody is in {path}", lambda: not read(os.path.join(path, "cgroup.procs")), 10, 0.05)
        os.rmdir(path)


def share(heavy, light, numbers):
    """Run time of so many hogs in one group over that of so many in another, all on one CPU."""
    with Hogs(1, numbers[0]) as first, Hogs(1, numbers[1]) as second:
        for path, hogs in ((heavy, first), (light, second)):
            for pid in hogs.pids:
                write(os.path.join(path, "cgroup.procs"), pid)
        before = first.cpu_seconds(), second.cpu_seconds()
        time.sleep(4)  # the length of the measurement
        return (first.cpu_seconds() - before[0]) / (second.cpu_seconds() - before[1])


def check_none_starves(bench, heavy, light):
    """Fails unless each of many tasks in the light group runs within the kernel's time limit beside some in the heavy
    one; the watchdog would have ended the scheduler."""
    with Hogs(1, 4) as first, Hogs(1, 8) as second:
        for path, hogs in ((heavy, first), (light, second)):
            for pid in hogs.pids:
                write(os.path.join(path, "cgroup.procs"), pid)
        before = [thread_seconds(pid) for pid in second.pids]
        time.sleep(15)  # longer than any task may wait
        least = min(thread_seconds(pid) - ran for pid, ran in zip(second.pids, before))
        say(f"beside four of weight 10000, each of 8 that share weight 1 has run for {least * 1000:.0f} ms of 15 s")
        check(least > 0, "a task has not run at all")
        check_in_force(bench)


def scx_groups(bench):
    """CPU time goes by the weights of cgroups, however many tasks are in them, and none waits for ever."""
    r = rig_of(bench)
    with chosen(bench), r.guest("beside", cpus=1), group("heavy", 300) as heavy, group("light", 100) as light:
        for numbers in ((1, 1), (1, 4), (4, 1)):
            ratio = share(heavy, light, numbers)
            say(f"{numbers[0]} tasks in a group of weight 300, {numbers[1]} in one of 100: {ratio:.2f} : 1")
            check(2.5 <= ratio <= 3.6, "weights are not followed")
        for path, weight in ((heavy, 10000), (light, 1)):
            write(os.path.join(path, "cpu.weight"), weight)
        check_none_starves(bench, heavy, light)
        for path in (heavy, light):
            write(os.path.join(path, "cpu.weight"), 100)
        ratio = share(heavy, light, (1, 4))
        say(f"both of weight 100, 1 and 4 tasks: {ratio:.2f} : 1")
        check(0.8 <= ratio <= 1.25, "a new weight is not followed")
        check_in_force(bench)


def seen_on(tid):
    """CPUs that a thread is seen on within a second."""
    found = set()
    end = time.monotonic() + 1
    while time.monotonic() < end:
        found.add(int(read(f"/proc/{tid}/stat").rsplit(")", 1)[1].split()[36]))
        time.sleep(0.005)  # between samples
    return found


def scx_prefers(bench):
    """A vCPU is kept on the CPUs that it prefers without its affinity being touched, and never outside that."""
    r = rig_of(bench)
    files = {}
    for cpu in (0, 1):
        files[cpu] = os.path.join(r.host.dir, f"prefers-{cpu}.xml")
        write(files[cpu], LIMITS.replace("</pvsched>", f'  <cpus prefer="{cpu}" busy="100"/>\n</pvsched>'))
    with chosen(bench), contextlib.ExitStack() as stack, r.guest("prefers", cpus=1, limits=files[1]) as guest:
        hogs = [stack.enter_context(Hogs(0, 1))]
        wait_for("the clocks of the CPUs are apart", lambda: hogs[0].cpu_seconds() > 3, 30, 0.1)
        hogs.append(stack.enter_context(Hogs(1, 1)))
        tid = guest.tids()[0]
        guest.run(SPINNER)
        for cpu in (1, 0):
            bench.daemon.ctl("detach", "--qmp", guest.qmp_path)
            bench.daemon.ctl("attach", "--qmp", guest.qmp_path, "--name", guest.name, "--limits", files[cpu])
            bench.daemon.wait_active(guest.name, device=True)
            check_in_force(bench)
            wait_for(f"the vCPU is on CPU {cpu} only", lambda cpu=cpu: seen_on(tid) == {cpu}, 60, 0)
            check(os.sched_getaffinity(tid) == {0, 1}, "its affinity was touched")
            before = hogs[cpu].cpu_seconds(), thread_seconds(tid)
            time.sleep(4)  # the length of the measurement
            had = hogs[cpu].cpu_seconds() - before[0], thread_seconds(tid) - before[1]
            say(f"it has {had[1]:.1f} s of 4 there, a hog beside it {had[0]:.1f} s")
            check(min(had) > 0.5, "they do not share the CPU")
            say(f"prefers CPU {cpu}: seen nowhere else, affinity {sorted(os.sched_getaffinity(tid))}")
        os.sched_setaffinity(tid, {1})
        wait_for("it is where it is pinned", lambda: seen_on(tid) == {1}, 30, 0)
        check_in_force(bench)
        os.sched_setaffinity(tid, {0, 1})
        bench.daemon.ctl("actuator", "setattr")
        wait_for("setattr keeps it there by its affinity", lambda: os.sched_getaffinity(tid) == {0}, 30, 0.05)
        bench.daemon.ctl("actuator", "scx")
        wait_for("scx needs no affinity", lambda: os.sched_getaffinity(tid) == {0, 1}, 30, 0.05)
        wait_for("and keeps it there", lambda: seen_on(tid) == {0}, 30, 0)
        guest.run("kill -9 $(cat /tmp/spinner)")
        check_well(guest)


def scx_lasts(bench):
    """Under stress-ng at its worst, --repeat rounds, and while CPUs come and go, the scheduler stays in force."""
    r = rig_of(bench)
    with chosen(bench), r.guest("lasts", cpus=1) as guest:
        guest.run("chrt -f 20 sh -c 'while usleep 5000; do :; done' >/dev/null & echo $! >/tmp/beat")
        begin = time.monotonic()
        for number in range(bench.options.repeat):
            before = totals(r, guest)["carried out"]
            load = LOADS[number % len(LOADS)].format(cpus=os.cpu_count())
            done = run("stress-ng", *load.split(), "--timeout", f"{SECONDS}s", "--temp-path", "/tmp", check=False,
                       timeout=10 * SECONDS)
            check(done.returncode == 0, f"stress-ng {load}: exit status {done.returncode}: {done.stdout[-500:]}")
            guest.check_alive()
            check_in_force(bench)
            carried = totals(r, guest)["carried out"] - before
            say(f"{SECONDS} s of stress-ng {load}: in force, {carried} decisions carried out")
            check(carried > 0, "the guest was not served meanwhile")
            with Hogs(1, 2) as hogs:
                wait_for("the hogs run", lambda hogs=hogs: hogs.cpu_seconds() > 0.2, 30, 0.05)
                for state in (0, 1):
                    write("/sys/devices/system/cpu/cpu1/online", state)
            guest.check_alive()
            check_in_force(bench)
        say(f"in force for {time.monotonic() - begin:.0f} s under load, CPU 1 off and on {bench.options.repeat} times")
        guest.run("kill -9 $(cat /tmp/beat)")
        check_well(guest)


CASES = [scx_groups, scx_prefers, scx_lasts]
