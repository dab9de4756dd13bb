#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux guests, their driver and the policy's event sources on the kernel that runs here: in the lab's host, with
KVM, or with --accel tcg on any machine."""
import argparse
import contextlib
import json
import os
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from rig import DEVICE, LIMITS, check_well, rig_of as rig  # noqa: E402  (first: it sets the path)
import scx_cases  # noqa: E402
import scx_tasks  # noqa: E402
from linux_guest import CMDLINE, DomainGuest, LinuxGuest  # noqa: E402
from testbed.attr import policy  # noqa: E402
from testbed.checks import check, main, say  # noqa: E402
from testbed.domain import Domain  # noqa: E402
from testbed.load import Hogs  # noqa: E402
from testbed.util import Failure, Skip, run, setting, wait_for, write  # noqa: E402

KVM_SOURCES = ["kvm_exit", "kvm_entry", "kvm_userspace_exit", "kvm_halt_poll_ns", "kvm_apic_accept_irq"]


def runs_of_programs():
    """How often each program of the policy ran, by name; the kernel counts while bpf_stats_enabled is 1."""
    programs = json.loads(run("bpftool", "-j", "prog", "show").stdout)
    return {p["name"]: p.get("run_cnt", 0) for p in programs if p.get("type") == "tracing"}


def sources(bench):
    """Event sources: which are on, and each KVM source is seen firing for a guest without a driver."""
    status = bench.daemon.status()
    on = [s["name"] for s in status["sources"] if s["available"]]
    say(f"Linux {os.uname().release}: {len(on)} sources on: {', '.join(on)}")
    off = [f"{s['name']} ({s['reason']})" for s in status["sources"] if not s["available"]]
    say("off: " + (", ".join(off) or "none"))
    if rig(bench).accel != "kvm":
        raise Skip("without KVM there are no KVM events")
    kicks = [name for name in on if name.startswith("fentry:")]
    check(len(kicks) == 1, f"one place of the kick was expected, there are {kicks}")
    check(not set(KVM_SOURCES) - set(on), f"missing: {set(KVM_SOURCES) - set(on)}")
    # Halts of some milliseconds, as an emulated guest has them, are to make KVM lengthen its polling.
    with setting("/proc/sys/kernel/bpf_stats_enabled", 1), \
            setting("/sys/module/kvm/parameters/halt_poll_ns", 8000000), \
            rig(bench).guest("agentless", cpus=1, driver=None, host_cpu=1) as guest:
        guest.run("cyclictest -q -D 1s -i 5000", 120)
        with Hogs(1, 2):  # a kick needs a vCPU that is preempted
            guest.run("(cat /dev/zero >/dev/null & cyclictest -q -D 2s -i 5000; kill $!)", 120)
        counts = runs_of_programs()
        stats = rig(bench).stats(guest)
    wanted = KVM_SOURCES + [kicks[0].split(":")[1]]
    say("ran: " + ", ".join(f"{name} {counts.get(name, 0)}" for name in wanted))
    silent = [name for name in wanted if not counts.get(name)]
    check(not silent, f"never fired: {', '.join(silent)}")
    check(sum(s["injections"] for s in stats) > 0, "no injection was counted")
    check(sum(s["boosts"]["critical"] for s in stats) > 0, "a guest without a driver was never boosted")


def upgraded_while_running(bench):
    """A guest without driver is served; the driver is loaded while it runs, tells, is unloaded again."""
    r = rig(bench)
    with r.guest("upgrade", driver=None) as guest:
        check(bench.daemon.vm("upgrade")["device"]["transport"] == "none", "there is a transport without a driver")
        r.load(guest)
        say("hooks: " + guest.run(f"cat {DEVICE}/pvsched/hooks"))
        wait_for("the transport shows", lambda: bench.daemon.vm("upgrade")["device"]["transport"] == "bar", 10, 0.2)
        r.check_boosted(guest)
        say(f"boosted as a task {r.boosts(guest)} times, bad intents {sum(s['bad_intents'] for s in r.stats(guest))}")
        check(not any(s["bad_intents"] for s in r.stats(guest)), "the policy found bad intents")
        guest.run("rmmod pvsched")
        wait_for("the transport goes", lambda: bench.daemon.vm("upgrade")["device"]["transport"] == "none", 10, 0.2)
        check_well(guest)


def gpa(bench):
    """The GPA transport: the driver tells, is boosted, and goes."""
    r = rig(bench)
    with r.guest("gpa", driver="gpa") as guest:
        wait_for("the transport shows", lambda: bench.daemon.vm("gpa")["device"]["transport"] == "gpa", 10, 0.2)
        r.check_boosted(guest)
        guest.run("rmmod pvsched")
        check_well(guest)


def mirror(bench):
    """Policy mirror: what chrt gives a task in the guest is seen on the vCPU's thread, capped, and goes with it."""
    r = rig(bench)
    r.limits = os.path.join(r.host.dir, "mirror.xml")
    write(r.limits, LIMITS.replace("</pvsched>", '  <policy name="mirror"/>\n</pvsched>'))
    try:
        # On a loaded CPU: a boost is put in force when the vCPU has to wait.
        with r.guest("mirror", cpus=1, host_cpu=os.cpu_count() - 1) as guest, Hogs(os.cpu_count() - 1, 2):
            tid = guest.tids()[0]
            check(bench.daemon.vm("mirror")["policy"] == "mirror", "it is not served by mirror")
            for given, seen in ((20, 20), (80, 50)):
                with spinning(guest, f"chrt -f {given}"):
                    wait_for(f"SCHED_FIFO {seen}", lambda: scheduled(tid) == (os.SCHED_FIFO, seen), 120, 0.002)
                    say(f"chrt -f {given} in the guest: the vCPU's thread has SCHED_FIFO {seen}")
                wait_for("SCHED_OTHER again", lambda: scheduled(tid) == (os.SCHED_OTHER, 0), 120, 0.002)
            say("the task ends: it has SCHED_OTHER")
            check(r.boosts(guest, "critical") == 0, "mirror gave a boost that no task has asked for")
            check_well(guest)
    finally:
        del bench.host.rig  # the next case has its own limits


def scheduled(tid):
    """Policy and real-time priority of a thread."""
    return policy(tid), os.sched_getparam(tid).sched_priority


@contextlib.contextmanager
def spinning(guest, how):
    """Context: a task in the guest that computes, started by the command `how`."""
    guest.run(f"{how} sh -c 'while :; do :; done' >/dev/null & echo $! >/tmp/spinner")
    try:
        yield
    finally:
        guest.run("kill -9 $(cat /tmp/spinner)")


def domain(bench):
    """A libvirt domain with Linux and the driver: served from its metadata, nothing left after it."""
    r = rig(bench)
    staged = [shutil.copy(path, bench.host.dir) for path in (r.kernel.vmlinux, r.initrd)]
    with Domain(bench.host, "linux-domain", f"{CMDLINE} loglevel=5", vcpus=2, accel=r.accel, memory=384,
                kernel=staged[0], initrd=staged[1], channel=True) as made:
        made.start()
        guest = DomainGuest(made)
        guest.wait_ready()
        bench.daemon.wait_active(made.name, device=True)
        r.load(guest)
        vm = bench.daemon.vm(made.name)
        check(vm["limits"]["rt_max"] == 50 and vm["limits"]["critical_us"] == 2000, f"limits: {vm['limits']}")
        r.check_boosted(guest)
        guest.close()
        made.destroy()
        wait_for("the session ends", lambda: not bench.daemon.vm(made.name), 20, 0.1)
    for path in staged:
        os.unlink(path)


def selftest_bar(bench):
    """The driver's own tests: BAR transport."""
    _selftest(bench, "bar")


def selftest_gpa(bench):
    """The driver's own tests: GPA transport."""
    _selftest(bench, "gpa")


def _selftest(bench, transport):
    with rig(bench).guest(f"self-{transport}", driver=None) as guest:
        memory = None
        # Many rounds are run in two halves: the first shows what the kernel keeps anyway.
        for rounds in _halves(bench.options.repeat) if bench.options.repeat >= 50 else [bench.options.repeat]:
            status, output = guest.try_run(
                f"selftest.sh -m /pvsched.ko -n {rounds} -t {transport} -s", 120 + 30 * rounds)
            for line in output.splitlines():
                if re.match(r"(not )?ok |# ", line):
                    say(line)
            check(status == 0, f"exit status {status}")
            check("ok 1 " in output, "no test ran")
            memory = Memory(guest, memory)
        check_well(guest)


def _halves(rounds):
    return [rounds - rounds // 2, rounds // 2]


def loops_bar(bench):
    """Areas given and taken, device unplugged and plugged, again and again under load: BAR transport."""
    _loops(bench, "bar")


def loops_gpa(bench):
    """The same: GPA transport."""
    _loops(bench, "gpa")


def _loops(bench, transport):
    r, repeat = rig(bench), bench.options.repeat
    with r.guest(f"loops-{transport}", driver=transport) as guest:
        memory = None
        for rounds in _halves(repeat):  # the first shows what the kernel keeps anyway
            guest.run("(while :; do hackbench -g 1 -l 50; done) >/dev/null 2>&1 & echo $! >/tmp/load")
            _give_and_take(bench, guest, rounds)
            r.check_boosted(guest)
            _plug(r, guest, max(1, rounds // 4))
            guest.run("kill $(cat /tmp/load)")
            r.check_boosted(guest)
            memory = Memory(guest, memory)
        check_well(guest)


def _give_and_take(bench, guest, rounds):
    """Each detach takes areas and policy away, each attach gives others: four changes of the generation."""
    r = rig(bench)
    before = int(guest.run(f"cat {DEVICE}/pvsched/generation"))
    for _ in range(rounds):
        bench.daemon.ctl("detach", "--qmp", guest.qmp_path)
        bench.daemon.ctl("attach", "--qmp", guest.qmp_path, "--name", guest.name, "--limits", r.limits)
        bench.daemon.wait_active(guest.name, device=True)
    r.wait_bound(guest)
    after = int(guest.run(f"cat {DEVICE}/pvsched/generation"))
    say(f"generation {before} -> {after} by {rounds} detaches and attaches")
    check(after >= before + 2 * rounds, "the generation did not follow")


def _plug(r, guest, rounds):
    for _ in range(rounds):
        guest.qmp("device_del", id="pvsched0")
        guest.qmp.wait_event("DEVICE_DELETED")
        guest.qmp("device_add", driver="pvsched", id="pvsched0")
        r.wait_bound(guest)
    say(f"unplugged and plugged {rounds} times")


class Memory:
    """What the guest's kernel holds and cannot reclaim, without load: slabs, vmalloc and per-CPU memory, in KiB."""
    ROOM = 2048  # it was seen to vary by 1000

    def __init__(self, guest, before=None):
        """Now; fails if it is more than `before`, an earlier one, and what it varies by."""
        info = guest.run("echo 3 >/proc/sys/vm/drop_caches; cat /proc/meminfo")
        self.held = sum(int(re.search(rf"{name}:\s+(\d+)", info).group(1))
                        for name in ("SUnreclaim", "VmallocUsed", "Percpu"))
        if before:
            say(f"kernel memory of the guest: {before.held} -> {self.held} KiB")
            check(self.held - before.held <= self.ROOM, "the guest's kernel keeps memory")


def placement_bar(bench):
    """The guest is told where its CPUs are if it may be, in sysfs and in mappings: BAR transport."""
    _placement(bench, "bar")


def placement_gpa(bench):
    """The same: GPA transport."""
    _placement(bench, "gpa")


def _placement(bench, transport):
    r = rig(bench)
    with r.guest(f"place-{transport}", driver=transport) as guest:
        say("untold: " + guest.run("placement show").replace("\n", "; "))
        _check_refused(guest)
        guest.run("placement watch >/tmp/watch & echo $! >/tmp/watcher")
        _watched(guest, "untold")
        _serve_again(bench, guest, r.sharing)  # the mapping stays, the areas are others
        _watched(guest, "untold( remapped)* told")
        for cpu in (0, 1, 0):
            r.pin(guest, cpu)
            wait_for(f"the guest sees that it was moved to CPU {cpu}",
                     lambda: guest.run(f"cat {DEVICE}/cpu0/host_cpu") == str(cpu), 30, 0.1)
        shown = guest.run(f"cd {DEVICE}/cpu0; cat host_cpu host_node host_state placement; placement show").split("\n")
        say("told: " + "; ".join(shown))
        check(shown[1] == "0", "a node that there is not")
        check(shown[2] in ("running", "preempted", "halted") and shown[3] in ("0x81", "0x82", "0x84"), "no such state")
        name = os.path.basename(guest.run(f"echo {DEVICE}"))
        busy, said = guest.try_run("rmmod pvsched")
        check(busy, f"a module whose mapping is in use was unloaded: {said}")
        gone = "(remapped untold|untold remapped)"
        for _ in range(bench.options.repeat):
            guest.run(f"echo {name} >/sys/bus/pci/drivers/pvsched/unbind")
            _watched(guest, f".* told {gone}")
            guest.run(f"echo {name} >/sys/bus/pci/drivers/pvsched/bind")
            _watched(guest, f".* told {gone} remapped told")
        guest.qmp("device_del", id="pvsched0")
        guest.qmp.wait_event("DEVICE_DELETED")
        _watched(guest, f".* told {gone}")
        guest.run("kill $(cat /tmp/watcher)")
        guest.run("until rmmod pvsched; do sleep 0.1; done")
        check_well(guest)


def _serve_again(bench, guest, limits):
    bench.daemon.ctl("detach", "--qmp", guest.qmp_path)
    bench.daemon.ctl("attach", "--qmp", guest.qmp_path, "--name", guest.name, "--limits", limits)
    bench.daemon.wait_active(guest.name, device=True)
    rig(bench).wait_bound(guest)


def _check_refused(guest):
    status, output = guest.try_run("placement refuse")
    for line in output.splitlines():
        say(line)
    check(status == 0 and "map behind it: " in output, "something was not refused")
    check(guest.run("stat -c %a /dev/pvsched") == "400", "others may open the device")


def _watched(guest, words):
    """Waits until the watcher, whose mapping stays all the time, has seen just this."""
    def seen():
        return " ".join(guest.run("cat /tmp/watch").split())
    try:
        wait_for(f"the mapping shows: {words}", lambda: re.fullmatch(words, seen()), 30, 0.2)
    except Failure as failure:
        raise Failure(f"{failure}; it showed: {seen()}") from failure


def migration(bench):
    """Live migration between two QEMUs under cyclictest: boosted before and after, nothing stays on the old side."""
    _migrations(bench, "bar", max(1, bench.options.repeat // 2))


def migration_gpa(bench):
    """Live migration with the GPA transport."""
    _migrations(bench, "gpa", 1)


def _migrations(bench, transport, rounds):
    r = rig(bench)
    # A nested guest is too slow for more vCPUs on two emulated CPUs.
    cpus, interval = (1, 100000) if r.accel == "kvm" else (4, 10000)
    side = r.guest("side0", cpus=cpus, driver=transport, memory=256)
    source = side.__enter__()
    leaving = lambda: side.__exit__(None, None, None)
    try:
        source.run(f"cyclictest -q -D 36000 -i {interval} -p 20 -t {cpus} >/tmp/cyclictest 2>&1 & echo $! >/tmp/pid")
        for number in range(1, rounds + 1):
            r.check_boosted(source)
            where = os.path.join(source.dir, "migration")
            target = LinuxGuest(r.kernel, r.initrd, name=f"side{number}", accel=r.accel, cpus=cpus, memory=256,
                                plugin=bench.host.plugin, incoming=f"unix:{where}")
            target.launch()
            try:
                source.qmp("migrate", uri=f"unix:{where}")
                wait_for("the guest has left", lambda: _migrated(source), 120, 0.1)
                wait_for("the guest runs", lambda: target.qmp("query-status")["status"] == "running", 30, 0.05)
                check(target.run(f"cat {DEVICE}/pvsched/bound") == "0", "areas without a host that gives them")
                leaving()
                leaving = target.close
                wait_for("pvschedd lets the old side go", lambda: not bench.daemon.vm(source.name), 10, 0.1)
                bench.daemon.ctl("attach", "--qmp", target.qmp_path, "--name", target.name, "--limits", r.limits)
                bench.daemon.wait_active(target.name, device=True)
                r.wait_bound(target)
                limits = bench.daemon.vm(target.name)["limits"]
                check(limits["critical_us"] == 40000, f"other limits are in force: {limits}")
                target.run("kill -0 $(cat /tmp/pid)")
                r.check_boosted(target)
                check_well(target)
            except BaseException:
                target.close()
                raise
            source = target
        generation = source.run(f"cat {DEVICE}/pvsched/generation")
        say(f"migrated {rounds} times; the driver runs on, at generation {generation}")
        bench.daemon.ctl("detach", "--qmp", source.qmp_path)
    finally:
        leaving()


def _migrated(guest):
    state = guest.qmp("query-migrate").get("status")
    check(state not in ("failed", "cancelled"), f"migration {state}")
    return state == "completed"


def save_and_restore(bench):
    """Saved to a file and restored: the driver tells again, and is boosted."""
    r = rig(bench)
    file = os.path.join(bench.host.dir, "saved")
    with r.guest("saved", cpus=2, memory=256) as guest:
        guest.qmp("migrate", uri=f"exec:cat >{file}")
        wait_for("the guest is saved", lambda: _migrated(guest), 120, 0.1)
    with LinuxGuest(r.kernel, r.initrd, name="restored", accel=r.accel, cpus=2, memory=256,
                    plugin=bench.host.plugin, incoming=f"exec:cat {file}") as guest:
        wait_for("the guest runs", lambda: guest.qmp("query-status")["status"] == "running", 60, 0.05)
        with r.served(guest):
            r.wait_bound(guest)
            r.check_boosted(guest)
            check_well(guest)
    os.unlink(file)


def arguments(parser):
    """What the suite takes beyond the frame's options."""
    parser.add_argument("--kernel", default=os.environ.get("PVSCHED_LAB_KERNEL", "6.1"), help="of the guests")
    parser.add_argument("--accel", choices=["kvm", "tcg"], help="default: kvm where it works")
    parser.add_argument("--set", choices=list(SETS), default="guest", help="host: what needs this kernel as the host, "
                        "older-host: of that what depends on the kernel, guest: what needs a guest with the kernel "
                        "(default)")
    parser.add_argument("--repeat", type=int, default=2, help="rounds of what is repeated (default %(default)s)")


# What needs the lab's kernel as the host, with KVM, and of that what depends on the kernel; and what needs it in the
# guest only.
SETS = {"host": [sources, upgraded_while_running, gpa, mirror, domain, migration, *scx_cases.CASES,
                 *scx_tasks.CASES],
        "older-host": [sources, upgraded_while_running, gpa],
        "guest": [selftest_bar, selftest_gpa, placement_bar, placement_gpa, loops_bar, loops_gpa, migration,
                  migration_gpa, save_and_restore]}

if __name__ == "__main__":
    chosen = argparse.ArgumentParser(add_help=False)
    arguments(chosen)
    main(SETS[chosen.parse_known_args()[0].set], arguments)
