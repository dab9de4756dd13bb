#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the evaluation where it is started, in the lab's host: tests/lab/run --kernel 7.3 -- tests/lab/evaluate.py"""
import argparse
import hashlib
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


def build_id(described: str, build: Build, rig: rigs.Rig) -> str:
    """What tells one build from another: the name, and a digest of what is measured and of how."""
    digest = hashlib.sha256(rig.initrd.name.encode())  # it is named by its content
    for path in (build.plugin, build.daemon, build.ctl, build.guardian, build.bpf, build.scheduler,
                 measurements.__file__,
                 *sorted(Path(build.policies).glob("*.bpf.o"))):
        digest.update(Path(path).read_bytes())
    return f"{described} {digest.hexdigest()[:12]}".strip()


def main() -> int:
    """Measures; the JSON is complete after each round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--builddir", default=os.environ.get("PVSCHED_BUILD"),
                        required="PVSCHED_BUILD" not in os.environ)
    parser.add_argument("--kernel", default=os.environ.get("PVSCHED_LAB_KERNEL", "6.1"), help="of the guests")
    parser.add_argument("--preset", choices=list(measurements.PRESETS), default="lab")
    parser.add_argument("--output", default="/run/lab/results/evaluation.json")
    parser.add_argument("--said", default="", help="the command as the page shall name it")
    parser.add_argument("--build", default="", help="its name, say by git describe")
    parser.add_argument("--run", help="name of this run: the same when the lab's host has died and it begins again")
    parser.add_argument("--anew", action="store_true", help="do not go on with the rounds of a run before")
    parser.add_argument("--conclude", metavar="WHY", help="measure nothing: complete the result of --run, which could "
                        "not come to its end")
    parser.add_argument("name", nargs="*", help=f"default: all of {' '.join(measurements.MEASUREMENTS)}")
    options = parser.parse_args()
    unknown = set(options.name) - set(measurements.MEASUREMENTS)
    if unknown:
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}")

    def say(text: str) -> None:
        print(text, flush=True)

    if options.conclude:
        return 0 if runner.conclude(options.output, options.run, options.conclude, say) else 1
    build = Build(options.builddir)
    with PlainHost(build, say) as host, Daemon(host, libvirt="none") as daemon:
        rig = rigs.Rig(SimpleNamespace(host=host, daemon=daemon, options=options))
        well = runner.evaluate(lambda measurement: open_bench(rig, measurement),
                               measurements.PRESETS[options.preset], options.output, options.name or None,
                               options.said, say, build_id(options.build, build, rig), options.run, options.anew)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
