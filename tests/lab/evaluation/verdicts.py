# SPDX-License-Identifier: GPL-2.0-or-later
"""What the evaluation is judged by: each bound with its figure, computed from the rounds. Nothing that was not
measured is met."""
import dataclasses
import operator

from . import stats

OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt}
COARSE = 20  # operations


@dataclasses.dataclass
class Verdict:
    """`met` is None where there is no figure; `why` says the reason. The median of the rounds is judged, `rounds` says
    of how many."""
    group: str
    text: str
    operator: str
    bound: float
    figure: float | None = None
    worst: float | None = None
    met: bool | None = None
    why: str = ""
    rounds: int | None = None


def judge(group: str, text: str, sign: str, bound: float, found: dict | None, why: str = "") -> Verdict:
    """`found` is {"median", "worst"}, or None with the reason."""
    if found is None:
        return Verdict(group, text, sign, bound, why=why or "not measured")
    figure = found["median"]
    return Verdict(group, text, sign, bound, figure, found["worst"], OPERATORS[sign](figure, bound))


def pick(cells: list[dict], **key) -> list[dict]:
    """The rounds of the one cell with this key; [] when there is none."""
    found = [cell for cell in cells if all(cell.get(k) == v for k, v in key.items())]
    return found[0]["rounds"] if len(found) == 1 else []


def series(cells: list[dict], name: str, high: bool = False, histogram: str = "latency", **key) -> list[float]:
    """One figure of each round. With `high`, where it is above the histogram's limit, the most that it can be."""
    return [stats.value(r[histogram], name, high) for r in pick(cells, **key)]


def removed_wait(cells: list[dict], interval: int) -> dict | None:
    """As removed_share(), of the vCPU's wait for a CPU as the host's scheduler counts it. No bound is on it: it shows
    what of the latency is the scheduler's, where the rest is the emulation's."""
    key = {"where": "guest", "interval_us": interval}
    idle, vanilla, dynamic = ([r["vcpu_wait_us"] for r in pick(cells, load=load, mode=mode, **key)]
                              for load, mode in (("idle", "vanilla"), ("busy", "vanilla"), ("busy", "dynamic")))
    if not len(idle) == len(vanilla) == len(dynamic):
        return None
    return stats.over_rounds([stats.removed(*each) for each in zip(idle, vanilla, dynamic)], True)


def removed_share(cells: list[dict], name: str, interval: int) -> dict | None:
    """Of the guest's latency that load adds, which share the dynamic mode removes. Where a histogram ended, the bound
    is taken that is worse for us."""
    key = {"where": "guest", "interval_us": interval}
    idle = series(cells, name, load="idle", mode="vanilla", **key)
    vanilla = series(cells, name, load="busy", mode="vanilla", **key)
    dynamic = series(cells, name, high=True, load="busy", mode="dynamic", **key)
    if not len(idle) == len(vanilla) == len(dynamic):
        return None
    return stats.over_rounds([stats.removed(*each) for each in zip(idle, vanilla, dynamic)], True)


def latency_ratio(cells: list[dict], name: str, over: str, under: str, **key) -> dict | None:
    """Busy latency of one mode over another's: the larger it is, the worse."""
    return stats.ratio(series(cells, name, high=True, load="busy", mode=over, **key),
                       series(cells, name, load="busy", mode=under, **key), False)


def stressor_ratios(cotenants: list[dict], interval: int, figure: str, mode: str = "dynamic") -> dict[str, list]:
    """For each stressor, its rate in the mode over vanilla's, round by round. "ops" a second; "cpu" time a second;
    "work" is operations unless a segment has fewer than COARSE of them, where one more or less would decide: then CPU
    time."""
    over = [r["stress"] for r in pick(cotenants, interval_us=interval, mode=mode)]
    under = [r["stress"] for r in pick(cotenants, interval_us=interval, mode="vanilla")]
    if not over or len(over) != len(under):
        return {}
    out = {}
    for name in sorted(set.intersection(*map(set, over + under))):
        coarse = min(r[name]["ops"] for r in over + under) < COARSE
        ops = figure == "ops" or (figure == "work" and not coarse)
        rates = [[r[name]["ops_s"] if ops else r[name]["cpu_s"] / r[name]["seconds"] for r in rounds]
                 for rounds in (over, under)]
        if all(rates[1]):
            out[name] = [a / b for a, b in zip(*rates)]
    return out


def cotenant_ratio(cotenants: list[dict], interval: int, figure: str = "work", mode: str = "dynamic") -> dict | None:
    """The geometric mean over the stressors, round by round; None if a stressor has none."""
    each = stressor_ratios(cotenants, interval, figure, mode)
    names = {name for r in pick(cotenants, interval_us=interval, mode=mode) for name in r["stress"]}
    if not each or set(each) != names:
        return None
    return stats.over_rounds([stats.geometric_mean(list(values)) for values in zip(*each.values())], True)


def latency_verdicts(measured: dict, group: str) -> list[Verdict]:
    """For each interval that was measured."""
    cells, out = measured["cells"], []
    for interval in sorted({cell["interval_us"] for cell in cells}):
        at = f"{interval} µs"
        for name, bound in (("avg_us", 0.95), ("p99_us", 0.90)):
            out.append(judge(group, f"{at}: share of the {LABELS[name]} added by load that dynamic removes", ">=",
                             bound, removed_share(cells, name, interval), "load added nothing, or a round is missing"))
        for name, bound in (("avg_us", 1.1), ("p999_us", 1.5)):
            out.append(judge(group, f"{at}: busy {LABELS[name]}, dynamic over static", "<=", bound,
                             latency_ratio(cells, name, "dynamic", "static", where="guest", interval_us=interval)))
        out.append(judge(group, f"{at}: stress-ng operations, geometric mean, dynamic over vanilla", ">=", 0.95,
                         cotenant_ratio(measured["cotenants"], interval)))
        out.append(judge(group, f"{at}: host's busy p99, dynamic over vanilla", "<=", 1.1,
                         latency_ratio(cells, "p99_us", "dynamic", "vanilla", where="host", interval_us=interval)))
    return out


LABELS = {"avg_us": "average", "p50_us": "p50", "p95_us": "p95", "p99_us": "p99", "p999_us": "p99.9",
          "max_us": "maximum"}


def glitches(cells: list[dict], **key) -> list[int]:
    """Of each round."""
    return [r["glitches"] for r in pick(cells, **key)]


def fewer(vanilla: list[int], dynamic: list[int]) -> dict | None:
    """How many times fewer glitches, over all rounds together as they are rare; none at all counts as one. The worst
    is that of a single round. None where vanilla has none either."""
    if not vanilla or len(vanilla) != len(dynamic) or not sum(vanilla):
        return None
    return {"median": round(sum(vanilla) / max(sum(dynamic), 1), 4),
            "worst": round(min(v / max(d, 1) for v, d in zip(vanilla, dynamic)), 4)}


def audio_verdicts(measured: dict) -> list[Verdict]:
    """Busy, at the smallest and the largest buffer of the sources."""
    cells, out = measured["cells"], []
    for ms, sign, bound, text in ((2, ">=", 20.0, "times fewer glitches"), (10, ">", 1.0, "times fewer glitches")):
        found = fewer(glitches(cells, buffer_ms=ms, load="busy", mode="vanilla"),
                      glitches(cells, buffer_ms=ms, load="busy", mode="dynamic"))
        out.append(judge("audio", f"{ms} ms, busy: {text} than vanilla", sign, bound, found,
                         "vanilla has no glitches, or it was not measured"))
    return out


def more_glitches(cells: list[dict], **key) -> dict | None:
    """Those that `audio` has and `latency` has not, of a round."""
    each = [glitches(cells, policy=policy, **key) for policy in ("audio", "latency")]
    if not each[0] or len(each[0]) != len(each[1]):
        return None
    return stats.over_rounds([a - b for a, b in zip(*each)], False)


def boosted_share(cells: list[dict], **key) -> dict | None:
    """The run time with a boost that `audio` takes over the one that `latency` takes."""
    return stats.ratio(*([r["boosted_ms"] for r in pick(cells, policy=policy, **key)]
                         for policy in ("audio", "latency")), False)


def audio_policies_verdicts(measured: dict) -> list[Verdict]:
    """At the smallest buffer: no more glitches, for less."""
    cells, out, ms = measured["cells"], [], 2
    for beside in sorted({cell["beside"] for cell in cells}):
        key = {"buffer_ms": ms, "beside": beside}
        at = f"{ms} ms beside {beside}"
        out.append(judge("audio, policies", f"{at}: glitches of a round, audio less latency", "<=", 0.0,
                         more_glitches(cells, **key)))
        out.append(judge("audio, policies", f"{at}: boosted run time, audio over latency", "<=", 0.9,
                         boosted_share(cells, **key)))
    return out


def driver_cost(cells: list[dict], program: str) -> dict | None:
    """Time of a program with the driver over without."""
    loaded, unloaded = ([r["seconds"] for r in pick(cells, program=program, driver=d)] for d in (True, False))
    return stats.ratio(loaded, unloaded, False)


def throughput_verdicts(measured: dict) -> list[Verdict]:
    """The two programs that are judged; sched messaging is only shown."""
    return [judge("throughput", f"{program}: time with the driver over without", "<=", 1.03,
                  driver_cost(measured["cells"], program)) for program in ("hackbench", "sched pipe")]


def placed_ratio(cells: list[dict], load: str, lock: str, figure: str = "operations_s") -> dict | None:
    """What a lock that knows the placement gains over another: operations, or p99 of the wait of the other over its
    own."""
    rounds = [pick(cells, load=load, lock=name) for name in ("placed", lock)]
    if figure == "operations_s":
        return stats.ratio(*([r[figure] for r in each] for each in rounds), True)
    own, other = (series(cells, figure, high=name == "placed", histogram="wait", load=load, lock=name)
                  for name in ("placed", lock))
    return stats.ratio(other, own, True)


def placement_verdicts(measured: dict) -> list[Verdict]:
    """Both loads: knowing the placement is worth something."""
    return [judge("placement", f"{load}: operations, placed over spin", ">", 1.0,
                  placed_ratio(measured["cells"], load, "spin")) for load in ("idle", "busy")]


def actuator_ratio(cells: list[dict], figure: str) -> dict | None:
    """Of scx over setattr, round by round."""
    over, under = ([r[figure] for r in pick(cells, actuator=name)] for name in ("scx", "setattr"))
    return None if None in over + under else stats.ratio(over, under, False)


def actuator_verdicts(measured: dict) -> list[Verdict]:
    """scx over setattr; and its system calls."""
    cells = measured["cells"]
    out = [judge("scx", f"{text} {label}, scx over setattr", "<=", bound, actuator_ratio(cells, f"{name}_{label}_us"))
           for name, text, bound in (("effect", "event to effect,", 0.5), ("run", "boost to running,", 1.0))
           for label in ("p50", "p99")]
    for name in ("p50_us", "p999_us"):
        over, under = (series(cells, name, high=high, actuator=a) for a, high in (("scx", True), ("setattr", False)))
        out.append(judge("scx", f"guest's latency, {LABELS[name]}, scx over setattr", "<=", 1.0,
                         stats.ratio(over, under, False)))
    calls = [r["applies"] for r in pick(cells, actuator="scx")]
    out.append(judge("scx", "sched_setattr calls under scx", "<=", 0, stats.over_rounds(calls, False)))
    return out


def scheduler_verdicts(measured: dict) -> list[Verdict]:
    """What programs get done under our scheduler, over the kernel's: both bounds."""
    cells, out = measured["cells"], []
    for program in dict.fromkeys(cell["program"] for cell in cells):
        under, over = ([r["seconds"] for r in pick(cells, program=program, actuator=a)] for a in ("scx", "setattr"))
        for sign, bound in ((">=", 0.95), ("<=", 1.05)):
            out.append(judge("scheduler", f"{program}: throughput, ours over the kernel's", sign, bound,
                             stats.ratio(over, under, sign == ">=")))
    return out


def verdicts(result: dict) -> list[dict]:
    """Of one evaluation's JSON. A measurement that was asked for and is not in it has one verdict that is not met."""
    judges = {"latency": lambda m: latency_verdicts(m, "latency"),
              "latency-rr": lambda m: latency_verdicts(m, "latency, real-time task"),
              "audio": audio_verdicts, "audio-policies": audio_policies_verdicts, "throughput": throughput_verdicts,
              "placement": placement_verdicts, "actuators": actuator_verdicts, "scheduler": scheduler_verdicts}
    out = []
    for name, of in judges.items():
        if name in result["measurements"]:
            found = of(result["measurements"][name])
            for one in found:
                one.rounds = result.get("rounds", {}).get(name, {}).get("whole")
            out += found
        elif name in result.get("rounds", judges):
            why = result.get("failed", {}).get(name) or result.get("skipped", {}).get(name) or "not measured"
            out.append(Verdict(name, "all bounds", "", 0.0, why=why))
    return [dataclasses.asdict(v) for v in out]
