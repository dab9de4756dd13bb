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


LATE_US = 512  # a bucket's edge of the policy's histogram; a co-tenant's turn is 3 ms and more


def woken(bench):
    """Wake-ups of the vCPU so far, and how many of them waited LATE_US and more for the CPU."""
    histogram = bench.daemon.vm(NAME)["vcpus"][0]["stats"]["wake_to_run"]["log2_ns"]
    return sum(histogram), sum(histogram[(LATE_US * 1024).bit_length() - 1:])


def boosts_help(bench):
    """A guest that halts between interrupts, six co-tenants on its CPU: policy off and on in turn."""
    latency = {"disable": [], "enable": []}
    wakes, late = {"disable": 0, "enable": 0}, {"disable": 0, "enable": 0}
    with Domain(bench.host, NAME, "scenario=idle period_us=8000 wait=yes print=each areas=wait", accel="tcg") as domain:
        domain.start()
        with domain.guest() as guest, Hogs(domain.cpu, 6):
            guest.ready(120)
            bench.daemon.wait_active(NAME, device=True)
            for _ in range(bench.options.rounds):
                for mode in latency:
                    bench.daemon.ctl(mode, NAME)
                    before = woken(bench)
                    latency[mode] += guest.round(100)[0]
                    after = woken(bench)
                    wakes[mode] += after[0] - before[0]
                    late[mode] += after[1] - before[1]
            stats = bench.daemon.vm(NAME)["vcpus"][0]["stats"]

    say(f"boosts {stats['boosts']['critical']}, injections seen {stats['injections']}")
    for mode, samples in latency.items():
        say(f"{mode}: {late[mode]} of {wakes[mode]} wake-ups waited {LATE_US} us and more; the guest saw "
            f"{figures.summary(samples)}")
    check(stats["boosts"]["critical"] > 0, "it was never boosted")
    check(stats["injections"] == 0, "a KVM event was counted for a VM without KVM")
    check(late["disable"] >= 20, "the co-tenants delayed nothing: this shows nothing")
    # The guest's own samples also wait for QEMU's timer thread, which nobody boosts.
    check(late["enable"] / wakes["enable"] <= 0.1 * late["disable"] / wakes["disable"],
          "boosted wake-ups waited more than a tenth as often as those of vanilla")


main([boosts_help], lambda parser: parser.add_argument("--rounds", type=int, default=5))
