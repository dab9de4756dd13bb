# SPDX-License-Identifier: GPL-2.0-or-later
"""What pvsched costs the host (scripts/bench). Prints figures; judges nothing."""
import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests"))

from testbed import figures  # noqa: E402
from testbed.daemon import Daemon  # noqa: E402
from testbed.domain import METADATA, Domain  # noqa: E402
from testbed.host import Build, Host  # noqa: E402
from testbed.load import Hogs  # noqa: E402
from testbed.util import Failure, Skip, run, setting  # noqa: E402

STATS = "/proc/sys/kernel/bpf_stats_enabled"
PARTS = ("pipe", "events", "hook", "start")


def say(text):
    print(text, flush=True)


def pipe_us():
    """Microseconds an operation of perf's pipe benchmark, both ends on one CPU."""
    done = run("taskset", "-c", "0", "perf", "bench", "sched", "pipe", "-l", "100000")
    return float(re.search(r"([\d.]+) usecs/op", done.stdout).group(1))


def spread(values):
    return {"p50": round(statistics.median(values), 4), "p99": round(figures.percentile(values, .99), 4),
            "max": round(max(values), 4)}


def pipe(host, options):
    """A, B, C, A, B, C: no pvschedd; pvschedd without a VM; with a VM registered."""
    us = {"none": [], "no_vm": [], "vm": []}
    for _ in range(options.rounds):
        us["none"].append(pipe_us())
        with Daemon(host) as daemon:
            us["no_vm"].append(pipe_us())
            with Domain(host, "pvsched-bench", "scenario=ping areas=wait", cpu=1) as domain:
                domain.start()
                daemon.wait_active(domain.name, device=True)
                us["vm"].append(pipe_us())
    out = {"us_per_op": {k: round(statistics.median(v), 4) for k, v in us.items()},
           "no_vm_over_none": figures.ratio(us["no_vm"], us["none"], False),
           "vm_over_none": figures.ratio(us["vm"], us["none"], False)}
    say(f"sched pipe, us/op: {out['us_per_op']}; no VM {out['no_vm_over_none']}, with a VM {out['vm_over_none']}")
    return out


def program_stats(names):
    """run count and run time of pvsched's programs by name, of the newest object."""
    shown = json.loads(run("bpftool", "-j", "prog", "show").stdout)
    found = {}
    for item in sorted(shown, key=lambda i: i["id"]):
        name = item.get("name", "")  # bpftool has the whole name from BTF, or the kernel's 15 characters
        if name[:15] in names and "run_cnt" in item:
            found[name] = (item["run_cnt"], item["run_time_ns"])
    return found


def events(host, options):
    """ns an event of each program, while a VM with urgent interrupts shares its CPU with two hogs."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(setting(STATS, 1))
        daemon = stack.enter_context(Daemon(host))
        domain = stack.enter_context(Domain(host, "pvsched-bench", "scenario=busy wait=yes areas=wait"))
        domain.start()
        guest = stack.enter_context(domain.guest())
        guest.ready()
        daemon.wait_active(domain.name, device=True)
        names = {s["name"].replace("fentry:", "")[:15] for s in daemon.status()["sources"] if s["available"]}
        with Hogs(domain.cpu):
            first = program_stats(names)
            guest.send("run 1000")
            guest.event("summary", seconds=120)
            last = program_stats(names)
        histogram = daemon.vm(domain.name)["vcpus"][0]["stats"]["event_to_applied"]
    out = {}
    for name in sorted(last):
        count = last[name][0] - first.get(name, (0, 0))[0]
        if count:
            out[name] = {"events": count,
                         "ns_per_event": round((last[name][1] - first.get(name, (0, 0))[1]) / count, 1)}
            say(f"{name:<20} {count:>8} events {out[name]['ns_per_event']:>9.1f} ns each")
    say(f"event to applied: p50 {histogram['p50_us']} us, p99 {histogram['p99_us']} us of {histogram['count']}")
    return {"programs": out, "event_to_applied_us": {k: histogram[k] for k in ("p50_us", "p99_us", "count")}}


def hook(host, options):
    """ms of one run of the hook: no element, and forwarded to pvschedd; /bin/true beside it."""
    with Daemon(host) as daemon:
        command = [host.build.hook, "--socket", daemon.socket, "no-such-domain", "prepare", "begin", "-"]
        plain = "<domain><name>x</name></domain>"
        element = f"<domain><name>x</name><metadata>{METADATA}</metadata></domain>"
        cases = {"true": (["/bin/true"], ""), "no_element": (command, plain), "forwarded": (command, element)}
        ms = {name: [] for name in cases}
        for _ in range(200):
            for name, (argv, text) in cases.items():
                begin = time.perf_counter()
                subprocess.run(argv, input=text, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               check=False)
                ms[name].append((time.perf_counter() - begin) * 1000)
    out = {name: spread(values) for name, values in ms.items()}
    say(f"hook, ms: {json.dumps(out)}")
    return out


def start(host, options):
    """ms of virsh start without and with the hook in turn, pvschedd running all the time."""
    ms = {"without": [], "with": []}
    with Daemon(host) as daemon, Domain(host, "pvsched-bench", "scenario=ping") as domain:
        for _ in range(options.rounds * 3):
            for mode, values in ms.items():
                with host.hook(daemon.socket) if mode == "with" else contextlib.nullcontext():
                    begin = time.perf_counter()
                    domain.start()
                    values.append((time.perf_counter() - begin) * 1000)
                    domain.destroy()
    delay = statistics.median(a - b for a, b in zip(ms["with"], ms["without"]))
    out = {"ms": {k: spread(v) for k, v in ms.items()}, "delay_ms_median": round(delay, 1)}
    say(f"virsh start, ms: {json.dumps(out)}")
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--builddir", required=True)
    parser.add_argument("--json")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("parts", nargs="*", choices=(*PARTS, []))
    options = parser.parse_args()
    parts = {"pipe": pipe, "events": events, "hook": hook, "start": start}
    result = {"kernel": os.uname().release, "date": time.strftime("%Y-%m-%d")}
    try:
        with Host(Build(options.builddir), say) as host:
            for name in options.parts or PARTS:
                result[name] = parts[name](host, options)
    except (Skip, Failure) as error:
        say(f"bench: {error}")
        return 1
    figures.save(result, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
