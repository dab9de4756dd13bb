#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A VM without KVM (type='qemu'): the scheduler's events alone make a working policy."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from testbed import figures  # noqa: E402
from testbed.checks import check, main, say  # noqa: E402
from testbed.domain import Domain  # noqa: E402
from testbed.load import Hogs  # noqa: E402

NAME = "pvsched-test-tcg"


def boosts_help(bench):
    """A guest that halts between interrupts, six co-tenants on its CPU: policy off and on in turn."""
    latency = {"disable": [], "enable": []}
    with Domain(bench.host, NAME, "scenario=idle period_us=8000 wait=yes print=each areas=wait", accel="tcg") as domain:
        domain.start()
        with domain.guest() as guest, Hogs(domain.cpu, 6):
            guest.ready(120)
            bench.daemon.wait_active(NAME, device=True)
            for _ in range(bench.options.rounds):
                for mode, rounds in latency.items():
                    bench.daemon.ctl(mode, NAME)
                    rounds.append(guest.round(100)[0])
            stats = bench.daemon.vm(NAME)["vcpus"][0]["stats"]

    def ratio(share):
        return figures.ratio(*[[figures.percentile(v, share) for v in latency[m]] for m in ("disable", "enable")], True)

    say(f"boosts {stats['boosts']['critical']}, injections seen {stats['injections']}; vanilla over pvsched: "
        f"p50 {ratio(.5)}, p99 {ratio(.99)}")
    for mode, rounds in latency.items():
        say(f"{mode}: {figures.summary(sum(rounds, []))}")
    check(stats["boosts"]["critical"] > 0, "it was never boosted")
    check(stats["injections"] == 0, "a KVM event was counted for a VM without KVM")
    check(ratio(.99)["median"] > 1, "boosts did not help at p99")


main([boosts_help], lambda parser: parser.add_argument("--rounds", type=int, default=5))
