#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The device in newer QEMUs than the system's: each in a userland of its own, where the plugin
is built for it without a warning and put through the device tests, emulated and on /dev/kvm.

Everything fetched is kept, see userland.py; builds go to build-qemu-VERSION in the source tree.
"""
import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import userland
from debian import cache_dir, locked

TOP = userland.TOP
QEMUS = ("10.0", "11.1")
OPTIONS = ("daemon=false", "bpf=false", "device=true", "mini_guest=true", "tests=true", "werror=true")
PACKAGE = "qemu-system-x86"
GONE = "fetching the source"  # headers.sh: the mirror may have a newer version by now


class Unavailable(Exception):
    """This QEMU cannot be had here; the text says why."""


class Place:
    """One QEMU: its userland, its headers and the build for it."""

    def __init__(self, version: str, source: str | None):
        self.version, self.source = version, source
        self.headers = cache_dir() / "headers" / version
        self.build = TOP / f"build-qemu-{version}"
        for folder in (self.headers, self.build):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            self.userland = userland.fetch(f"qemu-{version}")
        except RuntimeError as error:
            raise Unavailable(str(error).splitlines()[-1]) from error

    def run(self, *command: object, **kwargs) -> None:
        """Runs a command in the userland, which sees the source tree read-only."""
        self.userland.run(*command, cwd=self.build, **self.folders(), **kwargs)

    def folders(self) -> dict:
        """The folders of the system that a command sees."""
        sources = (TOP, self.source) if self.source else (TOP,)
        return {"readonly": sources, "writable": (self.headers, self.build)}

    def tree(self) -> Path:
        """The header tree of this QEMU, prepared if need be; the userland follows the mirror."""
        command = [TOP / "qemu-device/headers.sh", *(["--source", self.source] if self.source else []), self.headers]
        try:
            self.run(*command)
        except RuntimeError as error:
            if GONE not in str(error):
                raise
            have, offered = self.userland.version(PACKAGE), userland.offered(self.userland.name, PACKAGE)
            if have == offered:
                raise Unavailable(f"the mirror lacks the source of {PACKAGE} {have}; see --source") from error
            self.userland = userland.fetch(self.userland.name, anew=True)
            self.run(*command)
        return self.headers / "tree"

    def make(self) -> None:
        """Builds the device, its tests and the mini guest."""
        settings = [f"-D{o}" for o in (*OPTIONS, f"qemu_tree={self.tree()}")]
        again = ["--reconfigure"] if (self.build / "build.ninja").exists() else []
        self.run("meson", "setup", *again, self.build, TOP, *settings)
        self.run("ninja", "-C", self.build)

    def test(self, minutes: int) -> dict:
        """Runs the device tier; the record that run_tests.py leaves."""
        record = self.build / "device-tests.json"
        record.unlink(missing_ok=True)
        words = self.userland.command(
            "python3", TOP / "scripts/lib/run_tests.py", "--builddir", self.build, "--tier", "device", "--json",
            record, "--deadline", int(time.time()) + 60 * minutes, cwd=self.build, **self.folders())
        subprocess.run(words, env=userland.environment({"PYTHONDONTWRITEBYTECODE": "1"}), stdin=subprocess.DEVNULL,
                       check=False)
        if not record.exists():
            raise RuntimeError("the device tests left no record")
        return json.loads(record.read_text(encoding="utf-8"))


def one(version: str, options: argparse.Namespace) -> tuple[int, int, int]:
    """All of one QEMU: (passed, failed, skipped)."""
    print(f"qemu-{version}: the device in QEMU {version}", flush=True)
    begin = time.monotonic()
    try:
        place = Place(version, options.source)
        with locked(place.headers):
            place.make()
            built = time.monotonic() - begin
            print(f"  built for {place.userland.version(PACKAGE)} ({built:.1f} s)", flush=True)
            counts = place.test(options.minutes)
    except Unavailable as why:
        print(f"  SKIP: {why}", flush=True)
        return 0, 0, 1
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        print(f"  FAILED: {error}", flush=True)
        return 0, 1, 0
    failed = counts["failed"] or len(counts["faults"])
    print(f"  {'FAILED' if failed else 'ok'} ({time.monotonic() - begin:.1f} s)", flush=True)
    return counts["passed"] + 1, failed, counts["skipped"]  # the build is a case as well


def main() -> None:
    """Tests the QEMUs that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--qemu", action="append", choices=QEMUS, help="default: all")
    parser.add_argument("--source", type=os.path.abspath, metavar="FOLDER",
                        help="with one --qemu: its unpacked and patched source, for headers.sh")
    parser.add_argument("--minutes", type=int, default=20, help="for the tests of one QEMU")
    options = parser.parse_args()
    if options.source and len(options.qemu or ()) != 1:
        parser.error("--source is for one --qemu")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs is ended
    if os.geteuid() != 0:
        print("SKIP: a userland needs root")
        sys.exit(77)
    passed, failed, skipped = (sum(n) for n in zip(*(one(v, options) for v in options.qemu or QEMUS)))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 77 if skipped and not passed else 0)


if __name__ == "__main__":
    main()
