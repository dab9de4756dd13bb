# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs measurements and keeps their result as one JSON file, which scripts/lib/report reads."""
import contextlib
import json
import os
import re
import time

from testbed.util import Failure, Skip

from . import bench as place
from .measurements import MEASUREMENTS, Preset
from .parse import Unreadable

SCHEMA = 1
SHORT_LIST = re.compile(r"\[\n\s*([^][{}\n]+(?:\n[^][{}\n]+)*?)\n\s*\]")  # of plain values: goes on one line


def evaluate(open_bench, preset: Preset, path: str, names=None, command: str = "", say=print) -> bool:
    """Runs the measurements (all unless named) and writes `path` after each, so that a run which is broken off keeps
    what it has. `open_bench(measurement)` is a context manager that gives a Bench with the guests that the Measurement
    asks for, or raises Skip. Returns whether none failed."""
    result = {"kind": "evaluation", "schema": SCHEMA,
              "context": {**place.machine(), "command": command, "preset": preset.name, "rounds": preset.rounds,
                          "load": place.STRESS_COMMAND},
              "measurements": {}, "failed": {}, "skipped": {}}
    for name in names or MEASUREMENTS:
        say(f"== {name}: {(MEASUREMENTS[name].run.__doc__ or '').split('.')[0]}")
        begin = time.monotonic()
        try:
            with open_bench(MEASUREMENTS[name]) as bench:
                result["context"].update(bench.context())
                data = MEASUREMENTS[name].run(bench, preset, lambda text: say("   " + text))
                result["measurements"][name] = {**data, "sources": list(bench.sources)}
            say(f"   {name}: {time.monotonic() - begin:.0f} s")
        except Skip as why:
            result["skipped"][name] = str(why)
            say(f"   {name}: not measured: {why}")
        except (Failure, Unreadable, KeyError, IndexError, OSError) as error:
            result["failed"][name] = f"{type(error).__name__}: {error}"
            say(f"   {name}: FAILED: {error}")
        save(result, path)
    return not result["failed"]


def save(result: dict, path: str) -> None:
    """Replaces the file at once: it is never half written."""
    part = f"{path}.part"
    try:
        with open(part, "w", encoding="utf-8") as file:
            file.write(SHORT_LIST.sub(lambda found: "[" + " ".join(found[1].split()) + "]",
                                      json.dumps(result, indent=1)) + "\n")
        os.replace(part, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
