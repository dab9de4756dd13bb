# SPDX-License-Identifier: GPL-2.0-or-later
"""The sections with Linux guests, one set for each evaluation (tests/lab/evaluation)."""
import statistics

import charts
import sources
from lab.evaluation import stats, verdicts as judge
from text import NONE, number, over, part, ratio, table

SIGNS = {">=": "≥", "<=": "≤", ">": ">"}
FIGURES = ("avg_us", "p50_us", "p95_us", "p99_us", "p999_us", "max_us")


def named(cells, **key):
    return next((cell for cell in cells if all(cell.get(k) == v for k, v in key.items())), None)


def values_of(cells, key):
    """The different values of a key in the cells' order."""
    return list(dict.fromkeys(cell[key] for cell in cells))


def figure(summary, name):
    """A percentile above the histogram's limit is shown as more than that."""
    if summary is None:
        return NONE
    return ("> " if name in summary.get("beyond", {}) else "") + number(summary[name])


def middle(cells, name, **key):
    """As the sources give it: the average of the rounds' averages, the maximum of all rounds."""
    values = judge.series(cells, name, **key)
    if not values:
        return None
    return max(values) if name == "max_us" else statistics.median(values)


def beside_sources(measured):
    cells, rows = measured["cells"], []
    for (where, load, name), by_interval in sources.LATENCY.items():
        for interval, theirs in by_interval.items():
            key = {"where": where, "load": load, "interval_us": interval}
            ours = [middle(cells, name, mode=mode, **key) for mode in sources.MODES]
            if None in ours:
                continue
            rows.append([f"{load} {where}, {judge.LABELS[name]}", interval, " / ".join(map(str, theirs)),
                         " / ".join(map(number, ours)), over(theirs[0], theirs[1]), over(ours[0], ours[1]),
                         over(theirs[1], theirs[2]), over(ours[1], ours[2])])
    return table(["", "interval µs", "RFC: vanilla / dynamic / static", "ours", "vanilla / dynamic, RFC", "ours",
                  "dynamic / static, RFC", "ours"], rows)


def percentiles(cells, labels):
    """A row for each cell: what tells it apart, then the figures of all rounds together."""
    rows = []
    for cell in cells:
        summary = cell["pooled"]["latency"]
        rows.append([*(cell[k] for k in labels), summary["count"], *(figure(summary, n) for n in FIGURES)])
    heads = {"interval_us": "interval µs", "where": "", "load": "", "mode": "", "guest": "guest",
             "own": "", "tags": "tags"}
    return table([*(heads[k] for k in labels), "samples", *(f"{judge.LABELS[n]} µs" for n in FIGURES)], rows)


def cotenants(measured):
    rows = []
    for interval in values_of(measured["cotenants"], "interval_us"):
        for mode in ("dynamic", "static"):
            for what, label in (("ops", "operations"), ("cpu", "CPU time"), ("work", "judged")):
                each = judge.stressor_ratios(measured["cotenants"], interval, what, mode)
                rows.append([interval, f"{mode} / vanilla, {label}",
                             *(ratio(stats.over_rounds(each.get(n, []), True)) for n in ("cpu", "iomix", "vm", "fork")),
                             ratio(judge.cotenant_ratio(measured["cotenants"], interval, what, mode))])
    return table(["interval µs", "", "cpu", "iomix", "vm", "fork", "geometric mean"], rows)


def waits(measured):
    rows = []
    for interval in values_of(measured["cells"], "interval_us"):
        row = [interval]
        for load in ("idle", "busy"):
            for mode in sources.MODES:
                rounds = judge.pick(measured["cells"], where="guest", interval_us=interval, load=load, mode=mode)
                row.append(number(statistics.median(r["vcpu_wait_us"] for r in rounds)) if rounds else NONE)
        rows.append([*row, ratio(judge.removed_wait(measured["cells"], interval))])
    return table(["interval µs", *(f"{load} {mode} µs" for load in ("idle", "busy") for mode in sources.MODES),
                  "removed"], rows)


def cotenant_bars(measured, title):
    """Operations relative to vanilla at the largest interval that was measured."""
    interval = max(values_of(measured["cotenants"], "interval_us"))
    groups = {}
    for mode in ("dynamic", "static"):
        each = judge.stressor_ratios(measured["cotenants"], interval, "ops", mode)
        for name, values in each.items():
            if found := stats.over_rounds(values, True):
                groups.setdefault(name, {})[mode] = (found["median"], found["worst"])
    order = [n for n in ("cpu", "iomix", "vm", "fork") if n in groups]
    return charts.bars(f"{title}: co-tenants' operations", "of vanilla", [(n, groups[n]) for n in order],
                       ("dynamic", "static"), reference=1) if order else None


def distribution(measured, interval, title):
    lines = []
    for load in ("busy", "idle"):
        for mode in sources.MODES:
            cell = named(measured["cells"], where="guest", interval_us=interval, load=load, mode=mode)
            if cell:
                lines.append((mode, load, cell["pooled"]["latency"]["ccdf"]))
    return charts.distribution(title, lines)


def latency(measured, name, svgs, part_name="latency"):
    pictures = []
    for interval in values_of(measured["cells"], "interval_us"):
        file = f"{name}-{part_name}-{interval}.svg"
        title = f"cyclictest in the guest, {interval} µs"
        svgs[file] = distribution(measured, interval, title)
        pictures.append(f"![{title}](benchmarks/{file})")
    bars_file = f"{name}-{part_name}-cotenants.svg"
    if picture := cotenant_bars(measured, "Beside the guest"):
        svgs[bars_file] = picture
        pictures.append(f"![Co-tenants' operations](benchmarks/{bars_file})")
    own = {"beside": beside_sources(measured)} if part_name == "latency" else {}
    return part(part_name, command=measured["command"], pictures="\n\n".join(pictures), cotenants=cotenants(measured),
                waits=waits(measured),
                percentiles=percentiles(measured["cells"], ("where", "interval_us", "load", "mode")), **own)


def latency_rr(measured, name, svgs):
    return latency(measured, name, svgs, "latency-rr")


def audio(measured, name, svgs):
    cells, rows = measured["cells"], []
    for load in ("busy", "idle"):
        for ms in values_of(cells, "buffer_ms"):
            def total(mode, what="glitches"):
                rounds = judge.pick(cells, buffer_ms=ms, load=load, mode=mode)
                return sum(r[what] for r in rounds) if rounds else None
            theirs = sources.AUDIO[load].get(ms, (None, None))
            ours = [total(mode) for mode in sources.MODES]
            gain = judge.fewer(*(judge.glitches(cells, buffer_ms=ms, load=load, mode=m) for m in sources.MODES[:2]))
            rows.append([f"{load}, {ms} ms", " / ".join(map(number, theirs)), " / ".join(map(number, ours)),
                         " / ".join(number(total(m, "lost_periods")) for m in sources.MODES),
                         over(*map(float, theirs)) if None not in theirs and theirs[1] else NONE,
                         number(gain["median"]) if gain else NONE])
    return part("audio", command=measured["command"], glitches=table(
        ["", "RFC: vanilla / dynamic", "ours: vanilla / dynamic / static", "periods lost", "times fewer, RFC", "ours"],
        rows))


def audio_policies(measured, name, svgs):
    cells, rows = measured["cells"], []
    for ms in values_of(cells, "buffer_ms"):
        for beside in values_of(cells, "beside"):
            key = {"buffer_ms": ms, "beside": beside}
            both = [named(cells, policy=policy, **key) for policy in ("latency", "audio")]

            def total(what):
                return " / ".join(number(sum(r[what] for r in cell["rounds"])) for cell in both)
            rows.append([f"{ms} ms", beside, total("periods"), total("glitches"), total("boosted_ms"),
                         ratio(judge.boosted_share(cells, **key)),
                         *(" / ".join(figure(cell["pooled"][what], "p99_us") for cell in both)
                           for what in ("wake", "full"))])
    return part("audio-policies", command=measured["command"], policies=table(
        ["buffer", "beside it in the guest", "periods", "glitches", "boosted ms", "boosted, audio / latency",
         "woken after, p99 µs", "full after, p99 µs"], rows))


def throughput(measured, name, svgs):
    cells = measured["cells"]
    rows = [[f"`{named(cells, program=p)['command']}`", ratio(judge.driver_cost(cells, p))]
            for p in values_of(cells, "program")]
    hooks = [[f"`{h['hook']}`", *(number(h.get(k)) for k in ("calls", "ns", "bytes"))] for h in measured["hooks"]]
    return part("throughput", costs=table(["", "time with the driver over without"], rows),
                hooks=table(["hook", "calls", "ns a call", "bytes of code"], hooks) if hooks else "No statistics.")


def lockholder(measured, name, svgs):
    rows = []
    for cell in measured["cells"]:
        pooled = cell["pooled"]
        rows.append([cell["lock"], f"{cell['load']} {cell['mode']}", *(figure(pooled.get(h), n) for h, n in (
            ("wake", "p99_us"), ("wait", "p50_us"), ("wait", "p99_us"), ("wait", "max_us"), ("hold", "p99_us"))),
            number(statistics.median(r["operations_s"] for r in cell["rounds"]))])
    return part("lockholder", command=measured["command"], locks=table(
        ["lock", "", "urgent thread late, p99 µs", "waits p50 µs", "p99 µs", "maximum µs", "hold p99 µs",
         "operations/s"], rows))


def placement(measured, name, svgs):
    cells = measured["cells"]
    rows = [[cell["load"], cell["lock"], number(statistics.median(r["operations_s"] for r in cell["rounds"])),
             *(figure(cell["pooled"]["wait"], n) for n in ("p50_us", "p99_us", "max_us"))] for cell in cells]
    gains = [[load, lock, *(ratio(judge.placed_ratio(cells, load, lock, what)) for what in ("operations_s", "p99_us"))]
             for load in values_of(cells, "load") for lock in ("spin", "mutex")]
    return part("placement", command=measured["command"],
                locks=table(["load", "lock", "operations/s", "wait p50 µs", "p99 µs", "maximum µs"], rows),
                gains=table(["load", "placed against", "operations, placed over it", "wait p99, it over placed"],
                            gains))


def rivals(measured, name, svgs):
    cells = measured["cells"]
    rows = []
    for guest in values_of(cells, "guest"):
        for interval in values_of(cells, "interval_us"):
            key = {"guest": guest, "interval_us": interval}
            by_mode = [[r["background_s"] for r in judge.pick(cells, mode=m, **key)] for m in ("dynamic", "vanilla")]
            p99 = [judge.series(cells, "p99_us", mode=m, **key) for m in ("vanilla", "dynamic")]
            rows.append([guest, interval, ratio(stats.ratio(*p99, True)), ratio(stats.ratio(*by_mode, True))])
    return part("rivals", command=measured["command"],
                gains=table(["guest", "interval µs", "p99, vanilla / dynamic", "background, dynamic / vanilla"], rows),
                percentiles=percentiles(cells, ("guest", "interval_us", "mode")))


def tags(measured, name, svgs):
    cells, rows = measured["cells"], []
    for own in values_of(cells, "own"):
        for interval in values_of(cells, "interval_us"):
            key = {"own": own, "interval_us": interval}
            both = [named(cells, tags=tags, **key) for tags in ("without", "with")]

            def middles(what):
                return " / ".join(number(statistics.median(r[what] for r in cell["rounds"])) for cell in both)
            p99 = [judge.series(cells, "p99_us", tags=tags, **key) for tags in ("without", "with")]
            rows.append([own, interval, " / ".join(figure(cell["pooled"]["latency"], "p99_us") for cell in both),
                         ratio(stats.ratio(*p99, True)), middles("share"),
                         middles("foreground_s") if "foreground_s" in both[0]["rounds"][0] else NONE])
    return part("tags", command=measured["command"], shares=table(
        ["foreground guest", "interval µs", "its p99 µs", "p99, without / with", "background's share of the CPU",
         "foreground's operations/s"], rows),
        percentiles=percentiles(cells, ("own", "interval_us", "tags")))


def actuators(measured, name, svgs):
    cells = measured["cells"]
    rows = []
    for cell in cells:
        middle_of = [statistics.median(r[k] for r in cell["rounds"]) for k in (
            "effect_p50_us", "effect_p99_us", "run_p50_us", "run_p99_us", "decisions", "applies")]
        rows.append([cell["actuator"], *(number(value) for value in middle_of),
                     *(figure(cell["pooled"]["latency"], k) for k in ("p50_us", "p99_us", "p999_us"))])
    return part("actuators", command=measured["command"], figures=table(
        ["", "effect p50 µs", "p99 µs", "running p50 µs", "p99 µs", "decisions", "sched_setattr", "guest p50 µs",
         "p99 µs", "p99.9 µs"], rows))


def scheduler(measured, name, svgs):
    cells = measured["cells"]
    rows = []
    for program in values_of(cells, "program"):
        times = [[r["seconds"] for r in judge.pick(cells, program=program, actuator=a)] for a in ("setattr", "scx")]
        rows.append([f"`{named(cells, program=program)['command']}`", ratio(stats.ratio(*times, True))])
    return part("scheduler", programs=table(["", "ours over the kernel's"], rows))


def timeline(measured, name, svgs):
    file = f"{name}-timeline.svg"
    svgs[file] = charts.boosts("Boosts of a busy guest", measured["samples"])
    return part("timeline", command=measured["command"], chart=f"benchmarks/{file}")


SECTIONS = {"latency": latency, "latency-rr": latency_rr, "audio": audio,
            "audio-policies": audio_policies, "throughput": throughput, "lockholder": lockholder,
            "placement": placement, "rivals": rivals, "tags": tags, "actuators": actuators, "scheduler": scheduler,
            "timeline": timeline}


def bounds(result):
    """The table of verdicts; what was not measured stands there with its reason."""
    words = {True: "yes", False: "**no**", None: "not measured"}
    rows = []
    for v in judge.verdicts(result):
        bound = f"{SIGNS[v['operator']]} {v['bound']:g}" if v["operator"] else NONE
        met = words[v["met"]] + (f": {v['why']}" if v["met"] is None and v["why"] != "not measured" else "")
        rows.append([v["group"], v["text"], bound, number(v["figure"]), number(v["worst"]), number(v["rounds"]), met])
    return table(["", "what", "bound", "median", "worst round", "rounds", "met"], rows)


def rounds_of(result):
    """How many rounds each measurement has and has lost."""
    rows = [[name, f"{of['whole']} of {of['wanted']}", of["lost"], of.get("why", "")]
            for name, of in result["rounds"].items()]
    return table(["", "whole rounds", "lost rounds", "why some are missing"], rows)


def evaluation(result, name, svgs):
    """The whole of one evaluation: what it ran on, the bounds, then each measurement."""
    context = dict(result["context"])
    measured = result["measurements"]
    everywhere = sorted({s for m in measured.values() for s in m["sources"]})
    notes = context.pop("notes", [])
    facts = [("kernel of the host", context["kernel"]), ("kernel of the guest", context.get("guest_kernel", NONE)),
             ("QEMU", context.get("qemu", NONE)), ("processor", f"{context['cpu']}, {context['cpus']} CPUs"),
             ("build", context["build"] or NONE), ("actuator", context.get("actuator", NONE)),
             ("event sources", ", ".join(everywhere)),
             ("rounds", f"{context['rounds']} ({context['preset']})"), ("load", f"`{context['load']}`"),
             ("date", context["date"]), ("command", f"`{context['command']}`")]
    title = f"Linux {context['kernel']}: {', '.join(measured) or 'nothing'}"
    blocks = [part("evaluation", title=title, data=f"benchmarks/{name}.json",
                   facts=table(["", ""], facts), notes="".join(f"\n* {note}" for note in notes), bounds=bounds(result),
                   rounds=rounds_of(result))]
    blocks += [section(measured[key], name, svgs) for key, section in SECTIONS.items() if key in measured]
    return "\n\n".join(blocks)
