# SPDX-License-Identifier: GPL-2.0-or-later
"""The report's three kinds of charts."""
from svg import BOTTOM, GRID, HEIGHT, LEFT, RIGHT, TEXT, TOP, WIDTH, Canvas, Linear, Log, frame, microseconds

COLOURS = {"vanilla": "#d9822b", "dynamic": "#3b82c4", "pvsched": "#3b82c4", "static": "#9a6fc4"}
DASHES = {"busy": "", "idle": "5 4"}
CLASSES = {"task": "#3b82c4", "critical": "#d9822b"}
LANE = 44


def distribution(title, lines):
    """`lines`: (mode, load, ccdf points). What share of the samples is at least as late as x; both axes logarithmic."""
    canvas = Canvas(title)
    values = [x for _, _, points in lines for x, _ in points]
    shares = [y for _, _, points in lines for _, y in points]
    bottom = HEIGHT - BOTTOM
    x_of = Log(max(min(values), 1), max(values), LEFT, WIDTH - RIGHT)
    y_of = Log(min(shares), 1, bottom, TOP)
    for value in x_of.decades():
        canvas.line(x_of(value), TOP, x_of(value), bottom)
        canvas.write(x_of(value), bottom + 18, microseconds(value), "middle")
    for share in y_of.decades():
        canvas.line(LEFT, y_of(share), WIDTH - RIGHT, y_of(share))
        canvas.write(LEFT - 8, y_of(share) + 4, f"{share * 100:g} %", "end")
    for mode, load, points in lines:
        canvas.path(steps([(x_of(max(x, 1)), y_of(y)) for x, y in points]), COLOURS[mode], DASHES[load])
    canvas.legend([(mode, COLOURS[mode], None) for mode in dict.fromkeys(mode for mode, _, _ in lines)]
                  + [(load, TEXT, DASHES[load]) for load in dict.fromkeys(load for _, load, _ in lines)])
    frame(canvas, "latency of at least", "share of the samples", bottom)
    return canvas.text()


def steps(points):
    """Between two points the share is already the later one's."""
    out = points[:1]
    for before, after in zip(points, points[1:]):
        out += [(before[0], after[1]), after]
    return out


def bars(title, y_title, groups, modes, reference=None):
    """`groups`: (label, {mode: (value, worst or None)}). The worst round is a line across the bar."""
    canvas = Canvas(title)
    bottom = HEIGHT - BOTTOM
    every = [v for _, by_mode in groups for pair in by_mode.values() for v in pair if v is not None]
    y_of = Linear(max([*every, reference or 0]) * 1.08 or 1, bottom, TOP)
    for tick in y_of.ticks():
        canvas.line(LEFT, y_of(tick), WIDTH - RIGHT, y_of(tick))
        canvas.write(LEFT - 8, y_of(tick) + 4, f"{tick:g}", "end")
    if reference:
        canvas.line(LEFT, y_of(reference), WIDTH - RIGHT, y_of(reference), TEXT, 1.5)
    span = (WIDTH - RIGHT - LEFT) / len(groups)
    width = min(span * 0.7 / len(modes), 64)
    for index, (label, by_mode) in enumerate(groups):
        middle = LEFT + span * (index + 0.5)
        for place, mode in enumerate(modes):
            if mode not in by_mode:
                continue
            value, worst = by_mode[mode]
            x = middle + (place - len(modes) / 2) * width + 2
            canvas.box(x, y_of(value), width - 4, bottom - y_of(value), COLOURS[mode])
            inside = bottom - y_of(value) > 24  # else above it
            canvas.write(x + width / 2 - 2, bottom - 8 if inside else y_of(value) - 6, short(value), "middle", 11,
                         "600", colour="#ffffff" if inside else TEXT)
            if worst is not None:
                canvas.line(x, y_of(worst), x + width - 4, y_of(worst), TEXT, 2)
        canvas.write(middle, bottom + 18, label, "middle")
    canvas.legend([(mode, COLOURS[mode], None) for mode in modes])
    frame(canvas, "", y_title, bottom)
    return canvas.text()


def short(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"


def boosts(title, samples, window_s=0.05):
    """`samples`: (seconds, vCPU, class) in order. One lane for each vCPU; the window begins in the samples' middle."""
    vcpus = sorted({vcpu for _, vcpu, _ in samples})
    end = samples[-1][0]
    window_s = min(window_s, end) or 0.001
    begin = min(samples[len(samples) // 2][0], end - window_s)
    bottom = TOP + LANE * len(vcpus) + 8
    canvas = Canvas(title, bottom + BOTTOM)
    x_of = Linear(window_s * 1000, LEFT, WIDTH - RIGHT)
    for tick in x_of.ticks(10):
        canvas.line(x_of(tick), TOP, x_of(tick), bottom)
        canvas.write(x_of(tick), bottom + 18, f"{tick:g}", "middle")
    for lane, vcpu in enumerate(vcpus):
        top = TOP + LANE * lane + 8
        canvas.write(LEFT - 8, top + LANE / 2, f"vCPU {vcpu}", "end")
        canvas.line(LEFT, top + LANE - 8, WIDTH - RIGHT, top + LANE - 8, GRID, 1.5)
        for first, last, name in spans([s for s in samples if s[1] == vcpu], begin, begin + window_s):
            if name in CLASSES:
                x = x_of((first - begin) * 1000)
                canvas.box(x, top, max(x_of((last - begin) * 1000) - x, 0.75), LANE - 8, CLASSES[name])
    canvas.legend([("as the guest's task", CLASSES["task"], None), ("critical section or interrupt",
                                                                  CLASSES["critical"], None)])
    frame(canvas, "ms", "", bottom)
    return canvas.text()


def spans(samples, begin, end):
    """(from, to, class) inside the window; before the first sample nothing is known."""
    edges = [when for when, _, _ in samples[1:]] + [end]
    for (when, _, name), until in zip(samples, edges):
        if until > begin and when < end:
            yield max(when, begin), min(until, end), name
