#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that asks for too much gets its budgets and no more, and is told so."""
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from testbed.checks import check, main, say  # noqa: E402
from testbed.domain import Domain  # noqa: E402
from testbed.load import Hogs  # noqa: E402

NAME = "pvsched-test-budgets"


def stats_of(bench):
    vm = bench.daemon.vm(NAME)
    return vm["vcpus"][0]["stats"], vm["limits"]


def rate(hogs, seconds):
    """Operations and CPU seconds of the co-tenants, each by second of time."""
    ops, cpu, begin = hogs.ops(), hogs.cpu_seconds(), time.monotonic()
    time.sleep(seconds)  # the length of the measurement
    passed = time.monotonic() - begin
    return (hogs.ops() - ops) / passed, (hogs.cpu_seconds() - cpu) / passed


def measure(bench, cmdline):
    """Policy off and on in turn: boosted time against the budget, and the co-tenants' share of vanilla."""
    seconds = bench.options.seconds
    pairs = max(3, round(seconds / 3))  # short: the speed of a shared machine drifts
    with Domain(bench.host, NAME, cmdline + " areas=wait") as domain:
        domain.start()
        with domain.guest() as guest, Hogs(domain.cpu) as hogs:
            guest.ready()
            bench.daemon.wait_active(NAME, device=True)
            first, limits = stats_of(bench)
            on, off = [], []
            for _ in range(pairs):
                bench.daemon.ctl("disable", NAME)
                off.append(rate(hogs, seconds / pairs))
                bench.daemon.ctl("enable", NAME)
                on.append(rate(hogs, seconds / pairs))
            last, _ = stats_of(bench)
            guest.send("stats")
            told = guest.event("stats")
    throttles = last["throttles"]["critical"] - first["throttles"]["critical"]
    boosted = last["boosted_ms"]["critical"] - first["boosted_ms"]["critical"]
    budget = limits["critical_us"] / 1000
    # What may be boosted at most: one budget each time a budget and its throttle have passed.
    allowed = seconds * 1000 * budget / (budget + limits["throttle_us"] / 1000)
    share = statistics.median(a[0] / b[0] for a, b in zip(on, off))
    cpu = statistics.median(a[1] / b[1] for a, b in zip(on, off))
    each = boosted / max(1, throttles)
    say(f"{throttles} throttles, boosted {boosted:.1f} ms = {each:.3f} ms each (budget {budget} ms), "
        f"{boosted / allowed:.3f} of what the budgets allow; co-tenants {share:.3f} of vanilla, "
        f"{cpu:.3f} by CPU time")
    return throttles, boosted, budget, allowed, share, told


def rogue(bench):
    """Always critical: one budget for each throttle, within a tenth."""
    throttles, boosted, budget, allowed, share, told = measure(bench, "scenario=rogue")
    check(throttles > 0, "no throttle was counted")
    check(abs(boosted / throttles / budget - 1) <= 0.10, "boosted time is not within 10 % of the budget")
    check(0.90 <= boosted / allowed <= 1.10, "boosted time is not within 10 % of what the budgets allow")
    check(share >= 0.90, "co-tenants got less than 0.90 of what they get without pvsched")
    check(told["throttled_seen"] > 0, f"the guest was not told: {told}")


def flapping(bench):
    """Critical on and off every 10 us, never a doorbell: no more than the budgets."""
    throttles, boosted, _, allowed, share, told = measure(bench, "scenario=flap flap_us=10 doorbell=no")
    check(throttles > 0, "no throttle was counted")
    check(boosted / allowed <= 1.10, "boosted time is more than the budgets allow")
    check(share >= 0.90, "co-tenants got less than 0.90 of what they get without pvsched")
    check(told["throttled_seen"] > 0, f"the guest was not told: {told}")


def flapping_with_doorbell(bench):
    """The same with a doorbell each time the need ends: no more than the budgets either."""
    _, boosted, _, allowed, share, _ = measure(bench, "scenario=flap flap_us=10 doorbell=yes")
    check(boosted > 0, "it was never boosted")
    check(boosted / allowed <= 1.10, "boosted time is more than the budgets allow")
    check(share >= 0.90, "co-tenants got less than 0.90 of what they get without pvsched")


def violations(bench):
    """A guest that breaks every rule of the contract is counted, and nothing breaks."""
    with Domain(bench.host, NAME, "scenario=violate areas=wait wait=yes") as domain:
        domain.start()
        with domain.guest() as guest:
            vm = bench.daemon.wait_active(NAME, device=True)
            violated = guest.event("violated")
            while violated["part"] != "areas":
                violated = guest.event("violated")
            vm = bench.daemon.vm(NAME)
            check(vm["device"]["guest-errors"] > 0, f"the device counted nothing: {vm['device']}")
            check(vm["vcpus"][0]["stats"]["bad_intents"] > 0, "the policy counted no bad intent")
            say(f"device counted {vm['device']['guest-errors']} guest errors, "
                f"policy {vm['vcpus'][0]['stats']['bad_intents']} bad intents")


main([rogue, flapping, flapping_with_doorbell, violations],
     lambda parser: parser.add_argument("--seconds", type=float, default=9, help="measured with the policy on"))
