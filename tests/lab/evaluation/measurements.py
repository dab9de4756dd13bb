# SPDX-License-Identifier: GPL-2.0-or-later
"""The measurements. Each is a function that takes a Bench (bench.py), a Preset and a Round, which it fills: one pass
through all combinations. It returns the command as the page shall name it. Rounds are interleaved by that; collected()
makes cells of them, one for each combination."""
import dataclasses
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from testbed.util import Failure

from . import parse
from .bench import MODES
from .stats import Histogram, log2_percentile, pooled

LIMIT_US = 100000  # of the histogram: cyclictest prints every bucket up to there, some seconds in an emulated guest
RR = "--mlockall -p 8 --policy=rr"
FAIR = "--mlockall --policy=other"
REPORT = "/tmp/cyclictest.json"
BESIDE = "/tmp/beside.json"
# Of the period. With a fifth, the default, a fair scheduler serves the vCPU well enough beside the load.
AUDIO_WORK = 0.4


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
    # When guest or host dies the round is lost, so a round is short: some 20 seconds of segments.
    "lab": Preset("lab", rounds=3, seconds=2, intervals=(1000, 500), buffers=(2, 10), locks=("spin",), loops=5000,
                  trace_seconds=1),
    "full": Preset("full", rounds=5, seconds=20),
}


@dataclasses.dataclass
class Round:
    """One round. `number` counts from 1; `setup` is what the measurement's setup() has found, the same for all
    rounds; `data` is JSON."""
    number: int
    setup: dict
    say: Callable[[str], None]
    data: dict = dataclasses.field(default_factory=dict)

    def add(self, key: dict, figures: dict, histograms: dict[str, Histogram] | None = None, part: str = "cells"):
        """What the combination `key` gave. Histograms are added by name: their summaries to the round, the samples of
        all rounds to the cell."""
        figures = figures | {name: h.summary() for name, h in (histograms or {}).items()}
        self.data.setdefault(part, []).append(
            {"key": key, "figures": figures, "histograms": {name: h.data() for name, h in (histograms or {}).items()}})


def collected(rounds: list[dict]) -> dict:
    """The `data` of whole rounds as one: what is not cells is that of the last."""
    return {name: cells([entry for data in rounds for entry in data.get(name, [])])
            if name in ("cells", "cotenants") else value for name, value in rounds[-1].items()}


def cells(entries: list[dict]) -> list[dict]:
    """The entries of all rounds by combination."""
    found: dict[tuple, dict] = {}
    histograms: dict[tuple, dict[str, list[Histogram]]] = {}
    for entry in entries:
        index = tuple(entry["key"].items())
        found.setdefault(index, {**entry["key"], "rounds": []})["rounds"].append(entry["figures"])
        for name, data in entry["histograms"].items():
            histograms.setdefault(index, {}).setdefault(name, []).append(Histogram.from_data(data))
    for index, named in histograms.items():
        whole = {name: pooled(parts) for name, parts in named.items()}
        found[index]["pooled"] = {name: {**h.summary(), "ccdf": h.ccdf()} for name, h in whole.items()}
    return list(found.values())


def call(run, command: str, seconds: float) -> str:
    """Output of a command that runs for `seconds` when nothing disturbs it; Failure if it does not end well."""
    status, output = run(command, timeout=30 + 5 * seconds)
    if status:
        raise Failure(f"{command}: exit status {status}: {output[-400:]}")
    return output


def together(*jobs) -> list:
    """The results of functions that run at the same time."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        return [future.result() for future in [pool.submit(job) for job in jobs]]


def cyclictest_job(interval: int, seconds: int, options: str = "", beside: str = "") -> str:
    """The command that runs it, and the command `beside` at the same time; it prints nothing and leaves the reports in
    files."""
    command = f"cyclictest -q {options} -D {seconds} -i {interval} -h {LIMIT_US} --json={REPORT} >/dev/null"
    if not beside:
        return f"({command})"
    return f"({beside} >{BESIDE} & {command}; status=$?; wait $!; exit $status)"


def cyclictest_reports(run, beside: str = "") -> list[dict]:
    """What the job has left. The first report goes by one long line: a serial line is slow."""
    shown = f"; cat {BESIDE}; rm {BESIDE}" if beside else ""
    return parse.json_lines(call(run, f"tr -d ' \\n' <{REPORT}; echo; rm {REPORT}{shown}", 1))


def cyclictest(run, interval: int, seconds: int, options: str = "") -> dict:
    """Runs it and returns its report."""
    call(run, cyclictest_job(interval, seconds, options), seconds)
    return cyclictest_reports(run)[0]


def latency(bench, preset: Preset, out: Round, options: str = "") -> str:
    """cyclictest in guest and host at the same time; idle and beside the co-tenants; by mode."""
    for interval, load, mode in itertools.product(preset.intervals, ("idle", "busy"), MODES):
        def both():
            before = bench.run_delay()
            reports = together(*(lambda run=run: cyclictest(run, interval, preset.seconds, options)
                                 for run in (bench.guests[0].run, bench.host_run)))
            waited, runs = (b - a for a, b in zip(before, bench.run_delay()))
            return reports, {"vcpu_wait_us": round(waited / max(runs, 1) / 1000, 2), "vcpu_runs": runs}
        key = {"interval_us": interval, "load": load, "mode": mode}
        (reports, waits), metrics = segment(bench, load, mode, both)
        for where, report in zip(("guest", "host"), reports):
            histogram = parse.cyclictest(report, LIMIT_US)
            out.add({"where": where, **key}, waits if where == "guest" else {}, {"latency": histogram})
            if where == "guest":
                out.say(f"round {out.number}: {interval} us {load} {mode}: avg {histogram.avg_us:.0f} "
                        f"p99 {histogram.percentile(.99)[0]:.0f} max {histogram.max_us:.0f} us")
        if metrics:
            out.add({"interval_us": interval, "mode": mode}, {"stress": metrics}, part="cotenants")
    return f"cyclictest -q {options} -D {preset.seconds} -i INTERVAL -h {LIMIT_US}".replace("  ", " ")


def segment(bench, load: str, mode: str, job):
    """The job under a mode, beside the co-tenants or without; its result and the co-tenants' metrics."""
    with bench.mode(mode):
        if load == "idle":
            return job(), None
        with bench.load() as tenants:
            result = job()
        return result, tenants.metrics


def latency_rr(bench, preset: Preset, out: Round) -> str:
    """The same with cyclictest as a real-time task."""
    return latency(bench, preset, out, RR)


def play(bench, options: str, seconds: float) -> dict:
    """What the audio program reports."""
    return parse.json_lines(call(bench.guests[0].run, f"glitch {options} --duration {seconds:g}", seconds))[0]


def audio_units(bench, preset: Preset) -> dict:
    """The work that fills each buffer."""
    with bench.mode("vanilla"):
        return {"units": {str(ms): play(bench, f"--buffer-ms {ms} --load {AUDIO_WORK}", 0.1)["units"]
                          for ms in preset.buffers}}


def audio(bench, preset: Preset, out: Round) -> str:
    """Glitches of a real-time task that fills buffers. Each buffer's work is calibrated once, so that all modes do
    the same."""
    for ms, load, mode in itertools.product(preset.buffers, ("idle", "busy"), MODES):
        work = f"--buffer-ms {ms} --units {out.setup['units'][str(ms)]}"
        report, _ = segment(bench, load, mode, lambda: play(bench, work, preset.seconds))
        counts = {name: report[name] for name in ("periods", "glitches", "lost_periods")}
        out.add({"buffer_ms": ms, "load": load, "mode": mode}, counts,
                {name: parse.program_histogram(report[name]) for name in ("wake", "full")})
        out.say(f"round {out.number}: {ms} ms {load} {mode}: {counts['glitches']} glitches of {counts['periods']}")
    return f"glitch --buffer-ms N --load {AUDIO_WORK} --duration {preset.seconds}"


POLICIES = ("latency", "audio")
# In the guest, not urgent: it wakes up a thousand times a second.
ORDINARY = "cyclictest -q -i 1000 -D {seconds} >/dev/null & {command}; status=$?; wait; exit $status"


def audio_policies(bench, preset: Preset, out: Round) -> str:
    """The same program beside the co-tenants, served by each policy in turn: alone in the guest, and beside ordinary
    wake-ups there. Glitches, and the run time with a boost that they cost."""
    for ms, beside, policy in itertools.product(preset.buffers, ("nothing", "ordinary wake-ups"), POLICIES):
        command = f"glitch --buffer-ms {ms} --units {out.setup['units'][str(ms)]} --duration {preset.seconds}"
        if beside != "nothing":
            command = f"({ORDINARY.format(seconds=preset.seconds, command=command)})"
        with bench.policy(policy), bench.mode("dynamic"), bench.load():
            before = bench.boosted_ms()
            report = parse.json_lines(call(bench.guests[0].run, command, preset.seconds))[0]
            figures = {"boosted_ms": round(bench.boosted_ms() - before, 3)}
        figures |= {name: report[name] for name in ("periods", "glitches", "lost_periods")}
        out.add({"buffer_ms": ms, "beside": beside, "policy": policy}, figures,
                {name: parse.program_histogram(report[name]) for name in ("wake", "full")})
        out.say(f"round {out.number}: {ms} ms beside {beside}, {policy}: {figures['glitches']} glitches of "
                f"{figures['periods']}, boosted {figures['boosted_ms']:.0f} ms")
    return f"glitch --buffer-ms N --load {AUDIO_WORK} --duration {preset.seconds}"


def throughput(bench, preset: Preset, out: Round) -> str:
    """An ordinary guest with and without the driver, nothing urgent. Who begins changes with each round."""
    programs = {
        "hackbench": (f"hackbench -g 2 -l {preset.loops // 100}", parse.hackbench),
        "sched pipe": (f"perf bench -f simple sched pipe -l {preset.loops}", parse.perf_bench),
        "sched messaging": (f"perf bench -f simple sched messaging -g 1 -l {preset.loops // 100}", parse.perf_bench),
    }
    with bench.mode("dynamic"):
        for loaded in (False, True) if out.number % 2 else (True, False):
            with bench.driver(loaded):
                for name, (command, read) in programs.items():
                    seconds = read(call(bench.guests[0].run, command, 60))
                    out.add({"program": name, "command": command, "driver": loaded}, {"seconds": seconds})
                    out.say(f"round {out.number}: {name}, driver {'loaded' if loaded else 'unloaded'}: {seconds} s")
    return "; ".join(command for command, _ in programs.values())


def lockholder(bench, preset: Preset, out: Round) -> str:
    """Lock holder preemption, in a guest with more vCPUs than the host has CPUs. Not under static priority: so many
    busy vCPUs as SCHED_FIFO would take the host down, and one another."""
    run = bench.guests[0].run
    for lock, (load, mode) in itertools.product(
            preset.locks, (("idle", "vanilla"), ("busy", "vanilla"), ("busy", "dynamic"))):
        command = f"lockholder --lock {lock} --duration {preset.seconds}"
        report, _ = segment(bench, load, mode, lambda: parse.json_lines(call(run, command, preset.seconds))[0])
        urgent, holders = report["urgent"], report["holders"]
        named = {"wake": urgent["wake"], "wait": urgent["wait"], "holder_wait": holders["wait"],
                 "hold": holders["hold"]}
        named = {name: parse.program_histogram(h) for name, h in named.items() if h["count"]}
        out.add({"lock": lock, "load": load, "mode": mode}, {"operations_s": report["operations_per_s"]}, named)
        wait = named["wait"].percentile(.99)[0] if "wait" in named else float("nan")
        out.say(f"round {out.number}: {lock} {load} {mode}: urgent thread waits p99 {wait:.0f} us, "
                f"{report['operations_per_s']:.0f} operations/s")
    return f"lockholder --lock KIND --duration {preset.seconds}"


def placement(bench, preset: Preset, out: Round) -> str:
    """Locks in user space between two vCPUs that share a CPU of the host: one that spins, one that looks at the
    holder's placement, one that always sleeps. The policy is off: what is shown is what the guest does by itself."""
    options = f"--threads 2 --interval-us 0 --priority 0 --duration {preset.seconds}"
    for load, lock in itertools.product(("idle", "busy"), ("spin", "placed", "mutex")):
        command = f"lockholder --lock {lock} {options}"
        report, _ = segment(bench, load, "vanilla",
                            lambda: parse.json_lines(call(bench.guests[0].run, command, preset.seconds))[0])
        wait = parse.program_histogram(report["holders"]["wait"])
        out.add({"load": load, "lock": lock}, {"operations_s": report["operations_per_s"]}, {"wait": wait})
        out.say(f"round {out.number}: {load} {lock}: {report['operations_per_s']:.0f} operations/s, "
                f"wait p99 {wait.percentile(.99)[0]:.0f} us")
    return f"lockholder --lock KIND {options}"


def rivals(bench, preset: Preset, out: Round) -> str:
    """Two guests that compete, each with a real-time cyclictest beside background work that is not urgent. Not under
    static priority, for the reason given at lockholder()."""
    beside = f"lockholder --lock none --threads 1 --interval-us 0 --priority 0 --duration {preset.seconds}"
    guests = bench.guests[:2]
    for interval, mode in itertools.product(preset.intervals, ("vanilla", "dynamic")):
        job = "sleep 1; " + cyclictest_job(interval, preset.seconds, RR, beside)
        with bench.mode(mode):
            together(*(lambda run=guest.run: call(run, job, preset.seconds + 1) for guest in guests))
        found = [cyclictest_reports(guest.run, beside) for guest in guests]
        for index, (report, background) in enumerate(found):
            histogram = parse.cyclictest(report, LIMIT_US)
            out.add({"guest": index + 1, "interval_us": interval, "mode": mode},
                    {"background_s": background["operations_per_s"]}, {"latency": histogram})
            out.say(f"round {out.number}: guest {index + 1} {interval} us {mode}: "
                    f"p99 {histogram.percentile(.99)[0]:.0f} us")
    return f"{beside} & cyclictest -q {RR} -D {preset.seconds} -i INTERVAL"


def tags(bench, preset: Preset, out: Round) -> str:
    """A foreground guest beside a background one that computes without end, by one policy with their tags and without:
    the fair cyclictest of the first, alone and beside work of its own, and what of the CPU each guest has. A real-time
    one would be boosted for itself."""
    work = f"lockholder --lock none --threads 1 --interval-us 0 --priority 0 --duration {preset.seconds}"
    front, back = bench.guests[:2]
    call(back.run, "{ while :; do :; done; } >/dev/null 2>&1 </dev/null & echo $! >/tmp/hog", preset.seconds)
    for interval, own, tagged in itertools.product(preset.intervals, ("", work), (False, True)):
        with bench.tagged(tagged):
            job = cyclictest_job(interval, preset.seconds, FAIR, own)
            _, had = together(lambda: call(front.run, job, preset.seconds), lambda: bench.cpu_seconds(preset.seconds))
            report, *beside = cyclictest_reports(front.run, own)
        histogram = parse.cyclictest(report, LIMIT_US)
        figures = {"share": round(had[1] / sum(had), 4)}
        if beside:
            figures["foreground_s"] = beside[0]["operations_per_s"]
        key = {"interval_us": interval, "own": "computes too" if own else "cyclictest alone",
               "tags": "with" if tagged else "without"}
        out.add(key, figures, {"latency": histogram})
        out.say(f"round {out.number}: {interval} us, {key['own']}, {key['tags']} tags: "
                f"p99 {histogram.percentile(.99)[0]:.0f} us, the background's share {figures['share']:.3f}")
    call(back.run, "kill $(cat /tmp/hog)", preset.seconds)
    return f"cyclictest -q {FAIR} -D {preset.seconds} -i INTERVAL"


ACTUATORS = ("setattr", "scx")


def account_of(before: dict, after: dict) -> dict:
    """What has been carried out between two accounts, and how fast."""
    out = {name: after[name] - before[name] for name in ("applies", "decisions")}
    for name in ("effect", "run"):
        buckets = [b - a for a, b in zip(before[name], after[name])]
        out[f"{name}_count"] = sum(buckets)
        out |= {f"{name}_{label}_us": log2_percentile(buckets, share) for label, share in (("p50", .5), ("p99", .99))}
    return out


def actuators(bench, preset: Preset, out: Round) -> str:
    """A real-time cyclictest in a busy guest, by what carries decisions out. Who begins changes with each round."""
    interval = 1000
    for actuator in ACTUATORS if out.number % 2 else ACTUATORS[::-1]:
        with bench.actuator(actuator), bench.mode("dynamic"), bench.load():
            before = bench.account()
            report = cyclictest(bench.guests[0].run, interval, preset.seconds, RR)
            done = account_of(before, bench.account())
        histogram = parse.cyclictest(report, LIMIT_US)
        out.add({"actuator": actuator, "interval_us": interval}, done, {"latency": histogram})
        out.say(f"round {out.number}: {actuator}: effect p50 {done['effect_p50_us']} p99 {done['effect_p99_us']} us, "
                f"running p50 {done['run_p50_us']} p99 {done['run_p99_us']} us, {done['applies']} calls, "
                f"guest p99 {histogram.percentile(.99)[0]:.0f} us")
    return f"cyclictest -q {RR} -D {preset.seconds} -i {interval}"


def scheduler(bench, preset: Preset, out: Round) -> str:
    """The host's own work under the kernel's scheduler and under ours. Who begins changes with each round. Each program
    runs once before: the first time after a boot takes up to twice as long in an emulated host."""
    programs = {
        "stress-ng": (f"stress-ng --cpu 4 --cpu-method int64 --metrics-brief --timeout {preset.seconds}s",
                      lambda text: 1 / parse.stress_ng(text)["cpu"]["ops_s"]),
        "hackbench": (f"hackbench -g 2 -l {preset.loops // 50}", parse.hackbench),
        "sched pipe": (f"perf bench -f simple sched pipe -l {preset.loops}", parse.perf_bench),
    }
    for command, _ in programs.values():
        call(bench.host_run, command, 60)
    for actuator in ACTUATORS if out.number % 2 else ACTUATORS[::-1]:
        with bench.actuator(actuator):
            for name, (command, read) in programs.items():
                seconds = read(call(bench.host_run, command, 60))
                out.add({"program": name, "command": command, "actuator": actuator}, {"seconds": seconds})
                out.say(f"round {out.number}: {name}, {actuator}: {seconds:.4g}")
    return "; ".join(command for command, _ in programs.values())


def timeline(bench, preset: Preset, out: Round) -> str:
    """Each decision of the policy in a busy guest: seconds from the first, vCPU, class."""
    with bench.mode("dynamic"), bench.load(), bench.boosts() as found:
        cyclictest(bench.guests[0].run, 1000, preset.trace_seconds, RR)
    samples = list(found)
    if not samples:
        raise Failure("no decision in the trace")
    begin = samples[0][0]
    out.say(f"{len(samples)} decisions")
    out.data["samples"] = [[round(when - begin, 6), vcpu, name] for when, vcpu, name in samples[:4000]]
    return f"cyclictest -q {RR} -D {preset.trace_seconds} -i 1000"


def hooks(bench, _: Preset) -> dict:
    """What the driver's hooks cost."""
    return {"hooks": bench.hooks()}


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A measurement: its round, what is found once for all rounds, how many rounds a preset wants, and which guests it
    needs. With `same_cpu` all vCPUs and the host's load share one CPU, with `sharing` the guests are told where theirs
    are. With a `policy` the guests are served by that one, each in a cgroup of its own, as libvirt does it; else by the
    default."""
    run: Callable
    guests: int = 1
    vcpus: int = 1
    same_cpu: bool = False
    policy: str = ""
    sharing: bool = False
    setup: Callable = lambda bench, preset: {}
    wanted: Callable[[Preset], int] = lambda preset: preset.rounds


MEASUREMENTS = {
    "latency": Measurement(latency),
    "latency-rr": Measurement(latency_rr),
    "audio": Measurement(audio, setup=audio_units),
    "audio-policies": Measurement(audio_policies, setup=audio_units),
    # As many rounds that begin with the driver as without. One vCPU: where the guest puts its tasks decides all else.
    "throughput": Measurement(throughput, setup=hooks, wanted=lambda preset: 2 * preset.rounds),
    "lockholder": Measurement(lockholder, vcpus=4),
    "placement": Measurement(placement, vcpus=2, same_cpu=True, sharing=True),
    "rivals": Measurement(rivals, guests=2, same_cpu=True),
    "tags": Measurement(tags, guests=2, same_cpu=True, policy="tagged"),
    "actuators": Measurement(actuators),
    "scheduler": Measurement(scheduler),
    "timeline": Measurement(timeline, wanted=lambda preset: 1),
}
