# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs measurements round by round and keeps the result as one JSON file, which scripts/lib/report reads."""
import contextlib
import dataclasses
import json
import os
import re
import subprocess
import time

from testbed.util import Gone, Failure, Skip

from . import bench as place, journal as journals
from .measurements import MEASUREMENTS, Preset, Round, collected
from .parse import Unreadable

SCHEMA = 1
SHORT_LIST = re.compile(r"\[\n\s*([^][{}\n]+(?:\n[^][{}\n]+)*?)\n\s*\]")  # of plain values: goes on one line


LOST = 6  # rounds that a measurement may lose in one run, to guests and hosts that die
ERRORS = 3  # the same, one after another, with a guest that lives: then it is no accident
FAILURES = (Failure, Unreadable, KeyError, IndexError, ValueError, OSError, subprocess.SubprocessError)


def evaluate(open_bench, preset: Preset, path: str, names=None, command: str = "", say=print, build: str = "",
             run: str | None = None, anew: bool = False) -> bool:
    """Runs the measurements (all unless named). Each round is in the journal beside `path` as soon as it is whole, and
    `path` is written anew. `open_bench(measurement)` is a context manager that gives a Bench with the guests that the
    Measurement asks for, or raises Skip. Returns whether every round is there.

    A round whose guest dies is thrown away and repeated with a new guest. A journal of the same kernel, `build`, preset
    and names is continued unless it is complete, or `anew`; `run` names the run, so that one which begins again because
    its host died is told from a new one."""
    names, machine = list(names or MEASUREMENTS), place.machine()
    run = run or f"{time.time_ns()}"
    identity = {"kernel": machine["kernel"], "build": build, "preset": dataclasses.asdict(preset), "names": names}
    about = {"date": machine["date"], "wanted": {name: MEASUREMENTS[name].wanted(preset) for name in names},
             "context": {**machine, "command": command, "preset": preset.name, "rounds": preset.rounds, "build": build,
                         "load": place.STRESS_COMMAND}}
    journal = journals.begin(path, identity, about, run, say, anew)
    save(compose(journal), path)
    for name in names:
        say(f"== {name}: {(MEASUREMENTS[name].run.__doc__ or '').split('.')[0]}")
        begin = time.monotonic()
        measure(journal, name, open_bench, preset, path, lambda text: say("   " + text))
        save(compose(journal), path)
        say(f"   {name}: {time.monotonic() - begin:.0f} s")
    return not any("why" in of for of in compose(journal)["rounds"].values() if not of.get("skipped"))


def measure(journal, name: str, open_bench, preset: Preset, path: str, say) -> None:
    """The rounds of one measurement that are missing."""
    one, wanted, errors = MEASUREMENTS[name], journal.header["wanted"][name], 0

    def whole() -> int:
        return len(journal.of("round", name))

    while whole() < wanted and not journal.ended(name):
        if journal.lost_now(name) >= LOST:
            why = journal.of("lost", name)[-1]["why"]
            journal.add(end=name, why=f"given up after {LOST} lost rounds, the last: {why}")
            break
        journal.add(begin=name)
        try:
            with open_bench(one) as bench:
                journal.add(bench=name, sources=list(bench.sources), context=bench.context())
                if not journal.of("setup", name):
                    journal.add(setup=name, data=one.setup(bench, preset))
                setup = journal.of("setup", name)[0]["data"]
                while whole() < wanted:
                    if not journal.open_round():
                        journal.add(begin=name)
                    found = Round(whole() + 1, setup, say)
                    shown = one.run(bench, preset, found)
                    journal.add(round=name, data={"command": shown, **found.data}, date=time.strftime("%Y-%m-%d"))
                    errors = 0
                    save(compose(journal), path)
        except Skip as why:
            journal.add(end=name, why=one_line(why), skipped=True)
        except FAILURES as error:
            if not journal.open_round():  # the round was whole: nothing is lost
                say(f"after the round: {error}")
                continue
            errors = 0 if is_death(error) else errors + 1
            why = one_line(error) if is_death(error) else f"{type(error).__name__}: {one_line(error)}"
            journal.add(lost=name, why=why)
            say(f"round {whole() + 1} is lost ({journal.lost_now(name)} of at most {LOST}): {error}")
            if errors == ERRORS:
                journal.add(end=name, why=why)
    end = journal.ended(name)
    if end:
        say(f"{'not measured' if end.get('skipped') else 'FAILED'}: {end['why']}")


def is_death(error: BaseException | None) -> bool:
    """Whether it comes of a guest that died or hangs: what is undone afterwards fails as well, and hides it."""
    while error:
        if isinstance(error, (Gone, ConnectionError)):
            return True
        error = error.__cause__ or error.__context__
    return False


def one_line(error) -> str:
    """A text that fits into a table."""
    return " ".join(str(error).replace("|", "/").split())[:300]


def compose(journal, why: str = "the evaluation has not come to its end") -> dict:
    """The result of the whole rounds. `why` rounds are missing unless the journal says it."""
    days = sorted({event["date"] for event in journal.events if "round" in event}) or [journal.header["date"]]
    result = {"kind": "evaluation", "schema": SCHEMA,
              "context": {**journal.header["context"], "date": " to ".join(dict.fromkeys((days[0], days[-1])))},
              "measurements": {}, "failed": {}, "skipped": {}, "rounds": {}}
    for event in journal.events:
        result["context"].update(event.get("context", {}))
    for name, wanted in journal.header["wanted"].items():
        rounds = [event["data"] for event in journal.of("round", name)]
        of = result["rounds"][name] = {"wanted": wanted, "whole": len(rounds), "lost": len(journal.of("lost", name))}
        if len(rounds) < wanted:
            end = journal.ended(name) or {"why": why}
            of |= {"why": end["why"]} | ({"skipped": True} if end.get("skipped") else {})
        if rounds:
            sources = list(dict.fromkeys(s for event in journal.of("bench", name) for s in event["sources"]))
            result["measurements"][name] = {**journal.of("setup", name)[0]["data"], **collected(rounds),
                                            "sources": sources}
        else:
            result["skipped" if of.get("skipped") else "failed"][name] = of["why"]
    return result


def conclude(path: str, run: str, why: str, say=print) -> bool:
    """Writes the result of a run that could not come to its end, from the journal. False if it left none."""
    journal = journals.load(journals.path_of(path))
    if not journal or journal.run() != run:
        return False
    name = journal.open_round()
    if name:
        journal.add(lost=name, why=why)
    result = compose(journal, why)
    save(result, path)
    for name, of in result["rounds"].items():
        reason = f": {of['why']}" if "why" in of else ""
        say(f"{name}: {of['whole']} of {of['wanted']} rounds, {of['lost']} lost{reason}")
    return True


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
