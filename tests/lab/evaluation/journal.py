# SPDX-License-Identifier: GPL-2.0-or-later
"""The journal of an evaluation: a line of JSON for each event, on the disk before the next begins. What died or was
broken off goes on from it; the result is made from it.

The first line is the header: what the rounds belong to. The others, in order:
  {"run": ID, "date"}                  the command was started; the same ID when only its host was booted again
  {"begin": NAME}                      a round of a measurement begins
  {"bench": NAME, "sources", "context"}, {"setup": NAME, "data"}
  {"round": NAME, "data", "date"} or {"lost": NAME, "why"}    it is whole, or thrown away
  {"end": NAME, "why", "skipped"}      no more rounds of it in this run
"""
import contextlib
import json
import os

SCHEMA = 1


class Journal:
    """The events in a file, the header aside."""

    def __init__(self, path: str, header: dict, events: list[dict]):
        self.path, self.header, self.events = path, header, events

    def add(self, **event) -> None:
        """Appends an event; it is on the disk when this returns."""
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        with open(descriptor, "ab") as file:
            file.write(json.dumps(event).encode() + b"\n")
            file.flush()
            os.fsync(descriptor)
        self.events.append(event)

    def of(self, kind: str, name: str) -> list[dict]:
        """The events of a kind of a measurement."""
        return [event for event in self.events if event.get(kind) == name]

    def this_run(self) -> list[dict]:
        """The events since the command was started."""
        runs = [i for i, event in enumerate(self.events) if "run" in event]
        return self.events[runs[-1]:] if runs else []

    def run(self) -> str | None:
        """ID of the last run."""
        return next((event["run"] for event in reversed(self.events) if "run" in event), None)

    def lost_now(self, name: str) -> int:
        """Rounds of a measurement that this run has lost."""
        return sum(event.get("lost") == name for event in self.this_run())

    def ended(self, name: str) -> dict | None:
        """Why there are no more rounds of it in this run."""
        return next((event for event in self.this_run() if event.get("end") == name), None)

    def open_round(self) -> str | None:
        """The measurement whose round has begun and not ended."""
        for event in reversed(self.events):
            if "begin" in event:
                return event["begin"]
            if event.keys() & {"round", "lost", "end"}:
                return None
        return None

    def complete(self) -> bool:
        """Whether all that was asked for is there."""
        return all(len(self.of("round", name)) >= wanted or (self.ended(name) or {}).get("skipped")
                   for name, wanted in self.header["wanted"].items())


def path_of(result: str) -> str:
    """The journal's path, beside the result's."""
    return os.path.splitext(result)[0] + ".journal"


def load(path: str) -> Journal | None:
    """The journal as far as it is whole: its writer may have died in a line, which is cut off. None where there is
    none."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return None
    lines, size = [], 0
    for line in data.splitlines(keepends=True):
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
        if not line.endswith(b"\n"):
            lines.pop()
            break
        size += len(line)
    if size < len(data):
        os.truncate(path, size)
    if not lines or lines[0].get("kind") != "journal":
        return None
    return Journal(path, lines[0], lines[1:])


def create(path: str, header: dict) -> Journal:
    """A new one."""
    part = f"{path}.part"
    with open(part, "w", encoding="utf-8") as file:
        file.write(json.dumps(header) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    return Journal(path, header, [])


def begin(result: str, identity: dict, about: dict, run: str, say, anew: bool = False) -> Journal:
    """The journal that this run goes on with, or a new one. Only a journal of the same `identity` is continued, never
    one whose measurements are complete unless it is this run's own; another one is set aside. `about` goes into the
    header of a new one; it holds "date"."""
    path = path_of(result)
    identity = json.loads(json.dumps({"schema": SCHEMA, **identity}))
    found = load(path)
    why = ""
    if found:
        differs = [name for name in identity if found.header.get(name) != identity[name]]
        if differs:
            why = "another " + ", ".join(f"{n} ({found.header.get(n)}, now {identity[n]})" if n in ("kernel", "build")
                                         else n for n in differs)
        elif found.run() != run and (anew or found.complete()):
            why = "to be begun anew" if anew else "complete"
    elif os.path.exists(path):
        why = "not readable"
    if why:
        for old in (path, result):
            with contextlib.suppress(FileNotFoundError):
                os.replace(old, f"{old}.old")
        say(f"the rounds measured before are set aside as {os.path.basename(path)}.old: {why}")
        found = None
    if not found:
        found = create(path, {"kind": "journal", **identity, **about})
    name = found.open_round()
    if name:
        found.add(lost=name, why="the lab's host died" if found.run() == run else "the run was broken off")
    whole = sum("round" in event for event in found.events)
    if whole:
        say(f"goes on: {whole} whole rounds since {found.header['date']}, build {found.header.get('build')}")
    if found.run() != run:
        found.add(run=run, date=about["date"])
    return found
