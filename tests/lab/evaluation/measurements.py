# SPDX-License-Identifier: GPL-2.0-or-later
"""The measurements. Each takes a Bench (bench.py) and a Preset and returns JSON data: a list of cells, one for each
combination, with a summary for each round in "rounds". Rounds are interleaved: all combinations, then all again."""
import dataclasses
import itertools
from concurrent.futures import ThreadPoolExecutor

from testbed.util import Failure

from . import parse
from .bench import MODES
from .stats import Histogram, pooled

LIMIT_US = 20000  # of cyclictest's histogram: it prints every bucket up to there, which takes an emulated guest long
RR = "--mlockall -p 8 --policy=rr"
REPORT = "/tmp/cyclictest.json"


@dataclasses.dataclass(frozen=True)
class Preset:
    """How long and how often. `seconds` is of one segment."""
    name: str
    rounds: int
    seconds: int
    intervals: tuple[int, ...] = (500, 1000)
    buffers: tuple[int, ...] = (2, 4, 10)
    locks: tuple[str, ...] = ("spin", "mutex", "pi-mutex", "kernel")
    loops: int = 20000  # of perf bench sched pipe; a hundredth for the other two
    trace_seconds: int = 2


PRESETS = {
    "quick": Preset("quick", rounds=2, seconds=3, intervals=(1000,), buffers=(2, 10), locks=("spin", "kernel"),
                    loops=4000, trace_seconds=1),
    # An emulated guest needs longer than 500 us for a cycle of cyclictest, so it is never done. Here everything is
    # stretched by 20: the intervals of 500 and 1000 us, and by 10 or 20 the audio's buffers of 2 and 10 ms.
    "lab": Preset("lab", rounds=2, seconds=3, intervals=(10000, 20000), buffers=(20, 200), locks=("spin",),
                  loops=2000),
    "full": Preset("full", rounds=5, seconds=20),
}


class Cells:
    """Collects rounds by combination."""

    def __init__(self):
        self.cells: dict[tuple, dict] = {}
        self.histograms: dict[tuple, dict[str, list[Histogram]]] = {}

    def _cell(self, key: dict) -> tuple:
        index = tuple(key.items())
        self.cells.setdefault(index, {**key, "rounds": []})
        return index

    def add(self, key: dict, figures: dict, histograms: dict[str, Histogram] | None = None) -> None:
        """One round of the combination `key`. Histograms are added by name: their summaries to the round, the samples
        of all rounds to the cell."""
        index = self._cell(key)
        figures = dict(figures)
        for name, histogram in (histograms or {}).items():
            figures[name] = histogram.summary()
            self.histograms.setdefault(index, {}).setdefault(name, []).append(histogram)
        self.cells[index]["rounds"].append(figures)

    def data(self) -> list[dict]:
        for index, named in self.histograms.items():
            whole = {name: pooled(parts) for name, parts in named.items()}
            self.cells[index]["pooled"] = {name: {**h.summary(), "ccdf": h.ccdf()} for name, h in whole.items()}
        return list(self.cells.values())


def call(run, command: str, seconds: float) -> str:
    """Output of a command that runs for `seconds` when nothing disturbs it; Failure if it does not end well."""
    status, output = run(command, timeout=120 + 10 * seconds)
    if status:
        raise Failure(f"{command}: exit status {status}: {output[-400:]}")
    return output


def together(*jobs) -> list:
    """The results of functions that run at the same time."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        return [future.result() for future in [pool.submit(job) for job in jobs]]


def cyclictest(run, interval: int, seconds: int, options: str = "", beside: str = "") -> list[dict]:
    """Runs it and returns its report, then those of the command `beside`, which runs at the same time. The report
    goes by one long line: a serial line is slow."""
    command = (f"cyclictest -q {options} -D {seconds} -i {interval} -h {LIMIT_US} --json={REPORT} >/dev/null; "
               f"status=$?; tr -d ' \\n' <{REPORT}; echo; rm -f {REPORT}")
    if beside:
        command = f"{beside} >/tmp/beside.json & {command}; wait $!; cat /tmp/beside.json"
    return parse.json_lines(call(run, f"({command}; exit $status)", seconds))


def latency(bench, preset: Preset, say, options: str = "") -> dict:
    """cyclictest in guest and host at the same time; idle and beside the co-tenants; by mode."""
    cells, tenants = Cells(), Cells()
    for number, interval, load, mode in itertools.product(
            range(preset.rounds), preset.intervals, ("idle", "busy"), MODES):
        def both():
            before = bench.run_delay()
            reports = together(*(lambda run=run: cyclictest(run, interval, preset.seconds, options)[0]
                                 for run in (bench.guests[0].run, bench.host_run)))
            waited, runs = (b - a for a, b in zip(before, bench.run_delay()))
            return reports, {"vcpu_wait_us": round(waited / max(runs, 1) / 1000, 2), "vcpu_runs": runs}
        key = {"interval_us": interval, "load": load, "mode": mode}
        (reports, waits), metrics = segment(bench, load, mode, both)
        for where, report in zip(("guest", "host"), reports):
            histogram = parse.cyclictest(report, LIMIT_US)
            cells.add({"where": where, **key}, waits if where == "guest" else {}, {"latency": histogram})
            if where == "guest":
                say(f"round {number + 1}: {interval} us {load} {mode}: avg {histogram.avg_us:.0f} "
                    f"p99 {histogram.percentile(.99)[0]:.0f} max {histogram.max_us:.0f} us")
        if metrics:
            tenants.add({"interval_us": interval, "mode": mode}, {"stress": metrics})
    return {"command": f"cyclictest -q {options} -D {preset.seconds} -i INTERVAL -h {LIMIT_US}".replace("  ", " "),
            "cells": cells.data(), "cotenants": tenants.data()}


def segment(bench, load: str, mode: str, job):
    """The job under a mode, beside the co-tenants or without; its result and the co-tenants' metrics."""
    with bench.mode(mode):
        if load == "idle":
            return job(), None
        with bench.load() as tenants:
            result = job()
        return result, tenants.metrics


def latency_rr(bench, preset: Preset, say) -> dict:
    """The same with cyclictest as a real-time task."""
    return latency(bench, preset, say, RR)


def audio(bench, preset: Preset, say) -> dict:
    """Glitches of a real-time task that fills buffers. Each buffer's work is calibrated once, so that all modes do
    the same."""
    run = bench.guests[0].run

    def play(options: str, seconds: float) -> dict:
        return parse.json_lines(call(run, f"glitch {options} --duration {seconds:g}", seconds))[0]

    with bench.mode("vanilla"):
        units = {ms: play(f"--buffer-ms {ms}", 0.1)["units"] for ms in preset.buffers}
    cells = Cells()
    for number, ms, load, mode in itertools.product(range(preset.rounds), preset.buffers, ("idle", "busy"), MODES):
        report, _ = segment(bench, load, mode, lambda: play(f"--buffer-ms {ms} --units {units[ms]}", preset.seconds))
        counts = {name: report[name] for name in ("periods", "glitches", "lost_periods")}
        cells.add({"buffer_ms": ms, "load": load, "mode": mode}, counts,
                  {name: parse.program_histogram(report[name]) for name in ("wake", "full")})
        say(f"round {number + 1}: {ms} ms {load} {mode}: {counts['glitches']} glitches of {counts['periods']}")
    return {"command": f"glitch --buffer-ms N --duration {preset.seconds}", "units": units, "cells": cells.data()}


def throughput(bench, preset: Preset, say) -> dict:
    """An ordinary guest with and without the driver, nothing urgent. Who begins changes with each round."""
    run = bench.guests[0].run
    programs = {
        "hackbench": (f"hackbench -g 2 -l {preset.loops // 100}", parse.hackbench),
        "sched pipe": (f"perf bench -f simple sched pipe -l {preset.loops}", parse.perf_bench),
        "sched messaging": (f"perf bench -f simple sched messaging -g 1 -l {preset.loops // 100}", parse.perf_bench),
    }
    cells = Cells()
    with bench.mode("dynamic"):
        for number in range(2 * preset.rounds):
            for loaded in (True, False) if number % 2 else (False, True):
                with bench.driver(loaded):
                    for name, (command, read) in programs.items():
                        seconds = read(call(run, command, 60))
                        cells.add({"program": name, "command": command, "driver": loaded}, {"seconds": seconds})
                        say(f"round {number + 1}: {name}, driver {'loaded' if loaded else 'unloaded'}: {seconds} s")
    return {"command": "; ".join(command for command, _ in programs.values()), "cells": cells.data(),
            "hooks": bench.hooks()}


def lockholder(bench, preset: Preset, say) -> dict:
    """Lock holder preemption, in a guest with more vCPUs than the host has CPUs. Not under static priority: so many
    busy vCPUs as SCHED_FIFO would take the host down, and one another."""
    run = bench.guests[0].run
    cells = Cells()
    for number, lock, (load, mode) in itertools.product(
            range(preset.rounds), preset.locks, (("idle", "vanilla"), ("busy", "vanilla"), ("busy", "dynamic"))):
        command = f"lockholder --lock {lock} --duration {preset.seconds}"
        report, _ = segment(bench, load, mode, lambda: parse.json_lines(call(run, command, preset.seconds))[0])
        urgent, holders = report["urgent"], report["holders"]
        named = {"wake": urgent["wake"], "wait": urgent["wait"], "holder_wait": holders["wait"],
                 "hold": holders["hold"]}
        named = {name: parse.program_histogram(h) for name, h in named.items() if h["count"]}
        cells.add({"lock": lock, "load": load, "mode": mode}, {"operations_s": report["operations_per_s"]}, named)
        wait = named["wait"].percentile(.99)[0] if "wait" in named else float("nan")
        say(f"round {number + 1}: {lock} {load} {mode}: urgent thread waits p99 {wait:.0f} us, "
            f"{report['operations_per_s']:.0f} operations/s")
    return {"command": f"lockholder --lock KIND --duration {preset.seconds}", "cells": cells.data()}


def rivals(bench, preset: Preset, say) -> dict:
    """Two guests that compete, each with a real-time cyclictest beside background work that is not urgent. Not under
    static priority, for the reason given at lockholder()."""
    beside = f"lockholder --lock none --threads 1 --interval-us 0 --priority 0 --duration {preset.seconds}"
    cells = Cells()
    for number, interval, mode in itertools.product(range(preset.rounds), preset.intervals, ("vanilla", "dynamic")):
        with bench.mode(mode):
            found = together(*(lambda run=guest.run: cyclictest(run, interval, preset.seconds, RR, beside)
                               for guest in bench.guests[:2]))
        for index, (report, background) in enumerate(found):
            histogram = parse.cyclictest(report, LIMIT_US)
            cells.add({"guest": index + 1, "interval_us": interval, "mode": mode},
                      {"background_s": background["operations_per_s"]}, {"latency": histogram})
            say(f"round {number + 1}: guest {index + 1} {interval} us {mode}: "
                f"p99 {histogram.percentile(.99)[0]:.0f} us")
    return {"command": f"{beside} & cyclictest -q {RR} -D {preset.seconds} -i INTERVAL", "cells": cells.data()}


def timeline(bench, preset: Preset, say) -> dict:
    """Each decision of the policy in a busy guest: seconds from the first, vCPU, class."""
    with bench.mode("dynamic"), bench.load(), bench.boosts() as found:
        cyclictest(bench.guests[0].run, 1000, preset.trace_seconds, RR)
    samples = list(found)
    if not samples:
        raise Failure("no decision in the trace")
    begin = samples[0][0]
    say(f"{len(samples)} decisions")
    return {"command": f"cyclictest -q {RR} -D {preset.trace_seconds} -i 1000",
            "samples": [[round(when - begin, 6), vcpu, name] for when, vcpu, name in samples[:4000]]}


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A measurement, and which guests it needs. With `same_cpu` all vCPUs and the host's load share one CPU."""
    run: object
    guests: int = 1
    vcpus: int = 1
    same_cpu: bool = False


MEASUREMENTS = {
    "latency": Measurement(latency),
    "latency-rr": Measurement(latency_rr),
    "audio": Measurement(audio),
    "throughput": Measurement(throughput, vcpus=2),
    "lockholder": Measurement(lockholder, vcpus=4),
    "rivals": Measurement(rivals, guests=2, same_cpu=True),
    "timeline": Measurement(timeline),
}
