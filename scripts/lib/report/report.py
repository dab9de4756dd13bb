#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes docs/benchmarks.md and its charts from the measured JSON. The same JSON give the same bytes."""
import argparse
import glob
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.normpath(os.path.join(HERE, "..", "..", ".."))
sys.path[:0] = [HERE, os.path.join(TOP, "tests")]

import guests  # noqa: E402
import host  # noqa: E402
from text import part  # noqa: E402

KINDS = ("demo", "evaluation", "budgets", "cost", "guest-hooks", "starts")


def load(paths):
    """kind -> [(name, data)], in the order of the names."""
    found = {kind: [] for kind in KINDS}
    for path in sorted(paths):
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
        if data.get("kind") not in KINDS:
            raise ValueError(f"{path}: \"kind\" is {data.get('kind')!r}; there are {', '.join(KINDS)}")
        found[data["kind"]].append((os.path.splitext(os.path.basename(path))[0], data))
    return found


def render(found):
    """The page, and {file name: SVG}."""
    svgs, blocks = {}, [part("method")]
    blocks += [host.demo(data, svgs, name) for name, data in found["demo"]]
    if found["evaluation"]:
        blocks.append(part("guests"))
        blocks += [guests.evaluation(data, name, svgs) for name, data in found["evaluation"]]
    blocks += [host.budgets(data) for _, data in found["budgets"]]
    blocks += [host.cost(data) for _, data in found["cost"]]
    blocks += [host.hooks(data) for _, data in found["guest-hooks"]]
    if found["starts"] and found["cost"]:
        blocks.append(host.starts(found["starts"][-1][1], found["cost"][-1][1]))
    return "\n\n".join(blocks) + "\n", svgs


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("json", nargs="*", help="default: docs/benchmarks/*.json")
    parser.add_argument("--output", default=os.path.join(TOP, "docs", "benchmarks.md"), help="default: %(default)s; "
                        "the charts go into a folder of this name without .md")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file would change")
    options = parser.parse_args()
    folder = os.path.splitext(options.output)[0]
    try:
        page, svgs = render(load(options.json or glob.glob(os.path.join(TOP, "docs", "benchmarks", "*.json"))))
    except (OSError, ValueError, KeyError) as error:
        print(f"report: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    files = {options.output: page} | {os.path.join(folder, name): text for name, text in svgs.items()}
    old = [path for path in glob.glob(os.path.join(folder, "*.svg")) if path not in files]
    if options.check:
        stale = [path for path, text in files.items() if read(path) != text] + old
        for path in stale:
            print(f"{os.path.relpath(path, TOP)}:1: is not what the JSON gives: run scripts/bench --report")
        return 1 if stale else 0
    os.makedirs(folder, exist_ok=True)
    for path in old:
        os.unlink(path)
    for path, text in files.items():
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        print(os.path.relpath(path))
    return 0


def read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
