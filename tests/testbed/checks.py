# SPDX-License-Identifier: GPL-2.0-or-later
"""The frame of an end-to-end test: named cases, one line each, a closing line, exit status 77 for a skip."""
import argparse
import os
import signal
import sys
import time
import traceback

from .daemon import Daemon
from .host import Build, Host
from .util import Failure, Skip


class Bench:
    """What a case gets: the host and a running pvschedd."""

    def __init__(self, host, daemon, options):
        self.host, self.daemon, self.options = host, daemon, options


def check(condition, text):
    """Fails the case with `text` unless the condition holds."""
    if not condition:
        raise Failure(text)


def say(text):
    print("    " + text, flush=True)


def main(cases, arguments=lambda parser: None):
    """Runs the cases (functions of one Bench) in order and exits. `--only NAME` picks one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--builddir", default=os.environ.get("PVSCHED_BUILD"))
    parser.add_argument("--only", action="append")
    arguments(parser)
    options = parser.parse_args()
    if not options.builddir:
        parser.error("--builddir or PVSCHED_BUILD is needed")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that contexts end
    passed = failed = skipped = 0
    try:
        with Host(Build(options.builddir), say) as host, Daemon(host) as daemon:
            host.install_hook(daemon.socket)
            for case in cases:
                if options.only and case.__name__ not in options.only:
                    continue
                begin = time.monotonic()
                print(f"{case.__name__}: {(case.__doc__ or '').strip()}", flush=True)
                try:
                    case(Bench(host, daemon, options))
                    passed += 1
                    print(f"  ok ({time.monotonic() - begin:.1f} s)", flush=True)
                except Skip as why:
                    skipped += 1
                    print(f"  SKIP: {why}", flush=True)
                except Exception as error:  # one case's failure must not hide the others
                    failed += 1
                    if not isinstance(error, Failure):
                        traceback.print_exc(file=sys.stdout)
                    print(f"  FAILED: {error}", flush=True)
            if failed:
                print("pvschedd's log:\n" + daemon.log()[-6000:], flush=True)
    except Skip as why:
        print(f"SKIP: {why}")
        sys.exit(77)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 77 if skipped and not passed else 0)
