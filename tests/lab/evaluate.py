#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the evaluation where it is started, in the lab's host: tests/lab/run --kernel 7.3 -- tests/lab/evaluate.py"""
import argparse
import os
import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parent))

import rig as rigs  # noqa: E402  (first: it sets the path)
from lab_bench import open_bench  # noqa: E402
from lab.evaluation import measurements, runner  # noqa: E402
from testbed.daemon import Daemon  # noqa: E402
from testbed.host import Build, Host  # noqa: E402


class PlainHost(Host):
    """A host without libvirtd: the guests are attached by their QMP sockets."""

    def _libvirtd(self):
        pass


def main() -> int:
    """Measures; the JSON is complete after each measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--builddir", default=os.environ.get("PVSCHED_BUILD"),
                        required="PVSCHED_BUILD" not in os.environ)
    parser.add_argument("--kernel", default=os.environ.get("PVSCHED_LAB_KERNEL", "6.1"), help="of the guests")
    parser.add_argument("--preset", choices=list(measurements.PRESETS), default="quick")
    parser.add_argument("--output", default="/run/lab/results/evaluation.json")
    parser.add_argument("--said", default="", help="the command as the page shall name it")
    parser.add_argument("name", nargs="*", help=f"default: all of {' '.join(measurements.MEASUREMENTS)}")
    options = parser.parse_args()
    unknown = set(options.name) - set(measurements.MEASUREMENTS)
    if unknown:
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}")

    def say(text: str) -> None:
        print(text, flush=True)

    with PlainHost(Build(options.builddir), say) as host, Daemon(host, libvirt="none") as daemon:
        rig = rigs.Rig(SimpleNamespace(host=host, daemon=daemon, options=options))
        well = runner.evaluate(lambda measurement: open_bench(rig, measurement),
                               measurements.PRESETS[options.preset], options.output, options.name or None,
                               options.said, say)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
