# SPDX-License-Identifier: GPL-2.0-or-later
"""The demonstration behind scripts/demo: rounds of vanilla, static SCHED_FIFO and pvsched on one running VM."""
import argparse
import contextlib
import json
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests"))

from testbed import figures  # noqa: E402
from testbed.attr import attributes, threads  # noqa: E402
from testbed.daemon import Daemon  # noqa: E402
from testbed.domain import METADATA, Domain  # noqa: E402
from testbed.host import Build, Host, bpf_objects  # noqa: E402
from testbed.load import Hogs  # noqa: E402
from testbed.static import rt_groups, static_fifo  # noqa: E402
from testbed.util import Failure, Skip, processes, read, wait_for  # noqa: E402

MODES = ("vanilla", "static", "pvsched")
NAME = "pvsched-demo"
COTENANTS = 6  # on the vCPU's CPU, each a session, and so a scheduling group, of its own
PERIOD_US = 12000  # long enough for the vCPU to have used its slice when the interrupt comes


def say(text):
    print(text, flush=True)


def measure(guest, hogs, samples):
    """One segment: latencies in us and the co-tenants' operations per second meanwhile."""
    ops, begin = hogs.ops(), time.monotonic()
    values, _ = guest.round(samples)
    return values, (hogs.ops() - ops) / (time.monotonic() - begin)


def segment(mode, daemon, tid, guest, hogs, samples):
    with contextlib.ExitStack() as stack:
        if mode == "pvsched":
            daemon.ctl("enable", NAME)
            stack.callback(daemon.ctl, "disable", NAME)
        elif mode == "static":
            stack.enter_context(static_fifo(tid))
        return measure(guest, hogs, samples)


def run_rounds(daemon, tid, guest, hogs, rounds, samples):
    values = {mode: [] for mode in MODES}  # a list a round
    ops = {mode: [] for mode in MODES}
    say(f"\n{'round':>5}  {'mode':<8} {'p50 us':>9} {'p99 us':>9} {'max us':>9} {'co-tenant ops/s':>16}")
    for number in range(1, rounds + 1):
        for mode in MODES:
            got, rate = segment(mode, daemon, tid, guest, hogs, samples)
            values[mode].append(got)
            ops[mode].append(rate)
            line = figures.summary(got)
            say(f"{number:>5}  {mode:<8} {line['p50_us']:>9} {line['p99_us']:>9} {line['max_us']:>9} {rate:>16.0f}")
    return values, ops


def ratios(values, ops):
    def per_round(mode, share):
        return [max(v) if share is None else figures.percentile(v, share) for v in values[mode]]

    ratio = figures.ratio
    return {
        "p50_vanilla_over_pvsched": ratio(per_round("vanilla", .5), per_round("pvsched", .5), True),
        "p99_vanilla_over_pvsched": ratio(per_round("vanilla", .99), per_round("pvsched", .99), True),
        "p50_pvsched_over_static": ratio(per_round("pvsched", .5), per_round("static", .5), False),
        "max_pvsched_over_static": ratio(per_round("pvsched", None), per_round("static", None), False),
        "cotenant_pvsched_over_vanilla": ratio(ops["pvsched"], ops["vanilla"], True),
        "cotenant_pvsched_over_static": ratio(ops["pvsched"], ops["static"], True),
    }


def flatten(pairs):
    """{"x": {"median": m, "worst": w}} as {"x": m, "worst": {"x": w}}: the form of the JSON report."""
    return {**{k: v["median"] for k, v in pairs.items()}, "worst": {k: v["worst"] for k, v in pairs.items()}}


def baseline_of(pid):
    return {tid: attributes(tid) for tid in threads(pid)}


def restored(pid, before):
    """Whether every thread that was there before has exactly its old attributes."""
    return all(attributes(tid) in (attr, None) for tid, attr in before.items())


def host_state():
    """What may be left behind: compared before and after."""
    groups = {}
    for root in ("/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"):
        for folder, _, files in os.walk(root):
            if "cpu.rt_runtime_us" in files:
                groups[folder] = read(f"{folder}/cpu.rt_runtime_us", "gone")
    found = {f"process {pid} {name}" for name in ("pvschedd", "pvsched-guardian", "qemu-system-x86_64", "libvirtd")
             for pid in processes(name)}
    found |= bpf_objects()
    for folder in ("/run", "/run/pvsched", "/etc/libvirt/hooks/qemu.d", "/etc/libvirt/qemu", "/var/tmp", "/tmp"):
        if os.path.isdir(folder):
            found |= {f"file {os.path.join(folder, name)}" for name in os.listdir(folder) if "pvsched" in name}
    return found, groups


def leftovers(before):
    objects, groups = before

    def now_left():
        after, after_groups = host_state()
        left = sorted(after - objects)
        left += [f"cgroup {g}: cpu.rt_runtime_us {v}" for g, v in after_groups.items()
                 if groups.get(g, "0") != v]
        return left

    try:  # the kernel frees BPF objects a little after the last descriptor is closed
        wait_for("nothing is left", lambda: not now_left(), 5, 0.1)
    except Failure:
        pass
    return now_left()


def report(vm, daemon_status, host, values, ops, before, pid):
    pairs = ratios(values, ops)
    runs = {mode: {**figures.summary(sum(values[mode], [])),
                   "cotenant_ops": round(sum(ops[mode]) / len(ops[mode]))} for mode in MODES}
    stats = [v["stats"] for v in vm["vcpus"] if "stats" in v]
    return {
        "host": {"kernel": os.uname().release, "accel": host.accel, "actuator": daemon_status["actuator"],
                 "rt_group": vm.get("rt_mode", ""),
                 "sources": [s["name"] for s in daemon_status["sources"] if s["available"]]},
        "vm": {"name": NAME, "device": bool(vm["device"]["present"]), "transport": vm["device"].get("transport"),
               "vcpus": [{"id": v["id"], "tid": v["tid"]} for v in vm["vcpus"]]},
        "runs": runs,
        "ratio": flatten(pairs),
        "boosts": sum(s["boosts"]["task"] + s["boosts"]["critical"] for s in stats),
        "throttles": sum(s["throttles"]["critical"] + s["throttles"]["total"] for s in stats),
        "restored": restored(pid, before),
    }


def show(result):
    say(f"\n{'':<9} {'samples':>8} {'p50 us':>9} {'p99 us':>9} {'max us':>9} {'co-tenant ops/s':>16}")
    for mode in MODES:
        r = result["runs"][mode]
        say(f"{mode:<9} {r['samples']:>8} {r['p50_us']:>9} {r['p99_us']:>9} {r['max_us']:>9} {r['cotenant_ops']:>16}")
    say("\nratio (median of the rounds, worst round):")
    for name, value in result["ratio"].items():
        if name != "worst":
            say(f"  {name:<32} {value:>9.2f} {result['ratio']['worst'][name]:>9.2f}")
    say(f"\nboosts {result['boosts']}, throttles {result['throttles']}; "
        f"threads at their baselines: {'yes' if result['restored'] else 'NO'}; "
        f"left behind: {', '.join(result['leftovers']) or 'nothing'}")


def demonstrate(options):
    build = Build(options.builddir)
    state = host_state()
    with Host(build, say) as host:
        if options.accel:
            host.accel = options.accel
        if host.accel != "kvm":
            say(f"NOTE: no KVM ({host.accel_reason or 'as asked'}): the VM runs with type='qemu', that is by TCG, "
                "without the kernel's KVM events; figures are of that")
        daemon = host.enter_context(Daemon(host))
        host.install_hook(daemon.socket)
        # Under TCG only the scheduler tells of interrupts: by waking a vCPU that halts.
        scenario = "busy" if host.accel == "kvm" else "idle"
        cmdline = f"scenario={scenario} period_us={PERIOD_US} wait=yes print=each areas=wait"
        # Where KVM emulates the guest, its handler takes some hundred microseconds, not some.
        inject = '<pvsched:inject time="2" unit="ms"/></pvsched:pvsched>'
        # Its vCPU never sleeps: a budget comes back in one throttle, and each interrupt needs half a millisecond of it.
        metadata = METADATA.replace("</pvsched:pvsched>", inject).replace('critical="2"', 'critical="10"')
        domain = host.enter_context(Domain(host, NAME, cmdline, metadata=metadata))
        say(f"virsh start {NAME}")
        daemon.ctl("disable")  # the baseline is measured before pvsched may touch it
        domain.start()
        guest = host.enter_context(domain.guest())
        ready = guest.ready()
        say(f"guest: {json.dumps(ready)}")
        vm = daemon.wait_active(NAME, device=True)
        pid, tid = vm["pid"], vm["vcpus"][0]["tid"]
        before = baseline_of(pid)
        daemon.ctl("disable", NAME)
        daemon.ctl("enable")
        groups = rt_groups(tid)
        say(f"vCPU thread {tid}, device {vm['device'].get('transport')}, actuator {daemon.status()['actuator']}, "
            f"real time {vm.get('rt_mode')} ({groups[-1] if groups else 'no RT groups'})")
        with Hogs(domain.cpu, COTENANTS) as hogs:
            values, ops = run_rounds(daemon, tid, guest, hogs, options.rounds, options.samples)
            vm = daemon.vm(NAME)
        result = report(vm, daemon.status(), host, values, ops, before, pid)
        say("\n" + daemon.ctl("status", NAME).stdout)
        daemon.stop()
        result["restored"] = result["restored"] and restored(pid, before)
    result["leftovers"] = leftovers(state)
    return result


def interrupted(number, _):
    """Ends the contexts, once: what undoes must not be interrupted itself."""
    for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    say("demo: interrupted, putting everything back")
    sys.exit(128 + number)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--builddir", required=True)
    parser.add_argument("--json")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--accel", choices=("kvm", "tcg"))
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    try:
        result = demonstrate(options)
    except (Skip, Failure) as error:
        say(f"demo: {error}")
        return 1
    show(result)
    figures.save(result, options.json)
    return 0 if result["restored"] and not result["leftovers"] else 1


if __name__ == "__main__":
    sys.exit(main())
