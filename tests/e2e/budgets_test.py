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
from testbed.util import thread_seconds  # noqa: E402

NAME = "pvsched-test-budgets"


def stats_of(bench):
    vm = bench.daemon.vm(NAME)
    return vm["vcpus"][0]["stats"], vm["limits"]


def vcpu_seconds(bench):
    return thread_seconds(bench.daemon.vm(NAME)["vcpus"][0]["tid"])


class Phase:
    """What a stretch of time gave: the co-tenants' operations per second, their part of the CPU time that they and the
    vCPU had together (the host may itself be a VM and lose CPU time), and each throttle's boosted ms."""

    def __init__(self, bench, guest, hogs, seconds):
        self.each = []
        last = stats_of(bench)[0]
        begin, ops, cpu, ran = time.monotonic(), hogs.ops(), hogs.cpu_seconds(), vcpu_seconds(bench)
        while time.monotonic() < begin + seconds:
            time.sleep(0.015)  # shorter than budget and throttle, so that no throttle hides another
            guest.drain()
            now = stats_of(bench)[0]
            if now["throttles"]["critical"] > last["throttles"]["critical"]:
                self.each.append((now["boosted_ms"]["critical"] - last["boosted_ms"]["critical"]) /
                                 (now["throttles"]["critical"] - last["throttles"]["critical"]))
                last = now
        self.seconds = time.monotonic() - begin
        self.ops = (hogs.ops() - ops) / self.seconds
        cpu, ran = hogs.cpu_seconds() - cpu, vcpu_seconds(bench) - ran
        self.share = cpu / (cpu + ran)


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
                off.append(Phase(bench, guest, hogs, seconds / pairs))
                bench.daemon.ctl("enable", NAME)
                on.append(Phase(bench, guest, hogs, seconds / pairs))
            last, _ = stats_of(bench)
            guest.send("stats")
            told = guest.event("stats")
    throttles = last["throttles"]["critical"] - first["throttles"]["critical"]
    boosted = last["boosted_ms"]["critical"] - first["boosted_ms"]["critical"]
    budget = limits["critical_us"] / 1000
    # What may be boosted at most: one budget each time a budget and its throttle have passed.
    allowed = sum(phase.seconds for phase in on) * 1000 * budget / (budget + limits["throttle_us"] / 1000)
    each = sum((phase.each for phase in on), [])
    each = statistics.median(each) if each else 0
    share = statistics.median(a.share / b.share for a, b in zip(on, off))
    ops = statistics.median(a.ops / b.ops for a, b in zip(on, off))
    say(f"{last['preemptions'] - first['preemptions']} preemptions, "
        f"{last['boosts']['critical'] - first['boosts']['critical']} boosts, {throttles} throttles, "
        f"boosted {boosted:.1f} ms, {each:.3f} ms each at the median (budget {budget} ms), "
        f"{boosted / allowed:.3f} of what the budgets allow; co-tenants {share:.3f} of vanilla by share of the CPU, "
        f"{ops:.3f} by operations")
    return throttles, boosted, each / budget, boosted / allowed, share, told


def rogue(bench):
    """Always critical: one budget for each throttle, within a tenth."""
    throttles, _, each, of_allowed, share, told = measure(bench, "scenario=rogue")
    check(throttles > 0, "no throttle was counted")
    check(abs(each - 1) <= 0.10, "boosted time is not within 10 % of the budget")
    check(0.90 <= of_allowed <= 1.10, "boosted time is not within 10 % of what the budgets allow")
    check(share >= 0.90, "co-tenants got less than 0.90 of what they get without pvsched")
    check(told["throttled_seen"] > 0, f"the guest was not told: {told}")


def flapping(bench):
    """Critical on and off every 10 us, never a doorbell: no more than the budgets."""
    throttles, _, _, of_allowed, share, told = measure(bench, "scenario=flap samples=0 flap_us=10 doorbell=no")
    check(throttles > 0, "no throttle was counted")
    check(of_allowed <= 1.10, "boosted time is more than the budgets allow")
    check(share >= 0.90, "co-tenants got less than 0.90 of what they get without pvsched")
    check(told["throttled_seen"] > 0, f"the guest was not told: {told}")


def flapping_with_doorbell(bench):
    """The same with a doorbell each time the need ends: no more than the budgets either."""
    _, boosted, _, of_allowed, share, _ = measure(bench, "scenario=flap samples=0 flap_us=10 doorbell=yes")
    check(boosted > 0, "it was never boosted")
    check(of_allowed <= 1.10, "boosted time is more than the budgets allow")
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
