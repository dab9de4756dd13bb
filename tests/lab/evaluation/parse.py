# SPDX-License-Identifier: GPL-2.0-or-later
"""Readers of the programs' output. Each raises Unreadable, with the end of the text, for anything unexpected."""
import json
import re

from .stats import Histogram

CLASSES = ("baseline", "task", "critical")  # PVSCHED_CLASS_*, by value


class Unreadable(Exception):
    """A program's output is not what it should be."""


def _unreadable(program: str, text: str) -> Unreadable:
    return Unreadable(f"{program}: cannot read: ...{text[-400:]!r}")


def json_lines(text: str) -> list[dict]:
    """The lines that are a JSON object, as the measuring programs print them; others are left out."""
    out = []
    for line in text.splitlines():
        if line.lstrip().startswith("{"):
            try:
                out.append(json.loads(line))
            except ValueError as error:
                raise _unreadable("JSON", line) from error
    return out


def cyclictest(report: dict, limit: int) -> Histogram:
    """cyclictest's --json file of a run with -h LIMIT, which has the buckets that are not empty. It does not count the
    samples above the limit: they are what the buckets lack of the cycles."""
    try:
        if report.get("return_code", 0) != 0:
            raise _unreadable("cyclictest", str(report))
        threads = list(report["thread"].values())
        buckets: dict[float, int] = {}
        for thread in threads:
            for us, count in thread["histogram"].items():
                buckets[float(us)] = buckets.get(float(us), 0) + count
        cycles = [thread["cycles"] for thread in threads]
        over = sum(cycles) - sum(buckets.values())
        average = sum(t["avg"] * n for t, n in zip(threads, cycles)) / sum(cycles)
        highest = max(thread["max"] for thread in threads)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise _unreadable("cyclictest", str(report)) from error
    if over < 0 or (over and highest < limit):
        raise _unreadable("cyclictest: the buckets do not fit the cycles", str(report))
    return Histogram(buckets, highest, average, over, float(limit))


def program_histogram(report: dict) -> Histogram:
    """A histogram of the measuring programs (tests/lab/programs/measure.h), which have no limit."""
    try:
        buckets = {float(us): int(count) for us, count in report["histogram"]}
        out = Histogram(buckets, float(report["max_us"]), float(report["avg_us"]))
        if out.count != report["count"]:
            raise _unreadable("histogram: the buckets do not fit the count", str(report))
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable("histogram", str(report)) from error
    return out


STRESS = re.compile(r"^stress-ng: (?:metrc|info): +\[\d+\] ([a-z][\w-]*) +(\d+) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+)"
                    r" +[\d.]+", re.M)


def stress_ng(text: str) -> dict[str, dict[str, float]]:
    """--metrics-brief by stressor: bogo operations, operations a second of real time, and its CPU time in seconds."""
    out = {name: {"ops": int(ops), "ops_s": float(rate), "seconds": float(real),
                  "cpu_s": round(float(usr) + float(sys), 2)}
           for name, ops, real, usr, sys, rate in STRESS.findall(text)}
    if not out:
        raise _unreadable("stress-ng", text)
    return out


def hackbench(text: str) -> float:
    """Seconds."""
    found = re.findall(r"^Time: ([\d.]+)\s*$", text, re.M)
    if len(found) != 1:
        raise _unreadable("hackbench", text)
    return float(found[0])


def perf_bench(text: str) -> float:
    """Seconds of `perf bench -f simple`."""
    found = re.findall(r"^([\d.]+)\s*$", text, re.M)
    if len(found) != 1:
        raise _unreadable("perf bench", text)
    return float(found[0])


EVENT = re.compile(r" (\d+\.\d+): bpf_trace_printk: pvsched: vm (\d+) vcpu (\d+) events [0-9a-f]+\s*$")
STATE = re.compile(r": bpf_trace_printk: pvsched: need [0-9a-f]+ state ([0-9a-f]+)\s*$")
TASK = re.compile(r"^\s*(\S.*?-\d+)\s+\[(\d+)\]")


def boost_trace(text: str, vm: int | None = None) -> list[tuple[float, int, str]]:
    """(seconds, vCPU, class) of each decision, from the kernel's trace of a VM with `debug` 1: two lines each, which
    those of other CPUs may come between."""
    open_events: dict[str, tuple[float, int, int]] = {}
    out = []
    for line in text.splitlines():
        where = TASK.match(line)
        key = where.group(0).strip() if where else ""
        if found := EVENT.search(line):
            open_events[key] = (float(found[1]), int(found[2]), int(found[3]))
        elif (found := STATE.search(line)) and key in open_events:
            when, owner, vcpu = open_events.pop(key)
            number = int(found[1], 16) & 0xff
            if number >= len(CLASSES):
                raise _unreadable("trace", line)
            if vm in (None, owner):
                out.append((when, vcpu, CLASSES[number]))
    return sorted(out)
