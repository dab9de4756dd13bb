#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots the mini guest in the installed QEMU: mini_test.py MINI.ELF [NAME...]

PVSCHED_PLUGIN names the device's plugin; without it the device's part is left out.
"""
import json
import os
import shutil
import sys

import mini_vm
from mini_vm import Areas, Failure, Vm

VALID, PENDING, IDLE = 0x80 << 56, 0x02 << 56, 0x01 << 56
HARDIRQ, PREEMPT_OFF = 0x02 << 48, 0x08 << 48
CRITICAL, TASK = 2, 1
MS = 1000000

passed = failed = 0
tests = []


def check(ok, what):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
    print("%s: %s" % ("ok" if ok else "FAILED", what), flush=True)


def test(accels=("tcg", "kvm"), device=False):
    def register(function):
        tests.extend((function, accel, device) for accel in accels)
        return function
    return register


def irq_seq(intent):
    return intent >> 40 & 0xff


def check_summary(s, samples):
    check(s["samples"] == samples, "%d samples counted" % samples)
    check(0 <= s["min_ns"] <= s["p50_ns"] <= s["p99_ns"] <= s["max_ns"], "latencies in order")
    check(s["p50_ns"] < 100 * MS, "p50 %d us is below 100 ms" % (s["p50_ns"] // 1000))
    check(s["bound_ns"] < MS, "error bound %d ns" % s["bound_ns"])
    check(samples * MS // 2 < s["elapsed_us"] * 1000 < 60000 * MS, "a round took %d ms" % (s["elapsed_us"] // 1000))


# --- without a device ---

@test()
def rounds(env, accel):
    for machine in ("pc", "q35"):
        for scenario in ("busy", "idle"):
            with Vm(env.elf, "wait=yes scenario=" + scenario, accel, machine) as vm:
                ready = vm.expect("ready")
                check(ready["driver"] is False and ready["source"] == "hpet",
                      "%s %s is ready, agentless" % (machine, scenario))
                check(100000 < ready["tsc_khz"] < 10000000, "TSC of %d kHz" % ready["tsc_khz"])
                for number in (1, 2):
                    summary = vm.run(40)
                    check(summary["round"] == number, "round %d" % number)
                    check_summary(summary, 40)
                    check((summary["work"] > 0) == (scenario == "busy"), "work done: %d" % summary["work"])
                vm.send("nonsense")
                check(vm.expect("error")["text"] == "bad command", "a bad command is refused")
                vm.send("stats")
                check(vm.expect("stats")["present"] is False, "stats answered")
                vm.send("quit")
                vm.expect("quit")
                check(vm.wait_exit() == 0, "quit ends QEMU")


@test(accels=("tcg",))
def sources(env, accel):
    for source, machine, real in (("pit", "pc", "pit"), ("rtc", "pc", "rtc"), ("hpet", "pc,hpet=off", "pit")):
        with Vm(env.elf, "wait=yes source=" + source, accel, machine) as vm:
            check(vm.expect("ready")["source"] == real, "source %s gives %s" % (source, real))
            check(vm.run(30)["samples"] == 30, "samples from " + real)


@test()
def file_serial(env, accel):
    with Vm(env.elf, "scenario=task samples=60 rounds=2 print=each quit=yes", accel, serial_file=True) as vm:
        check(vm.wait_exit(90) == 0, "the guest ends by itself")
        with open(vm.serial, encoding="utf-8") as f:
            events = [json.loads(line) for line in f if line.startswith("{")]
    names = [e["event"] for e in events]
    check(names.count("summary") == 2 and "done" in names, "two summaries and done in the file")
    values = [v for e in events if e["event"] == "lat" for v in e["tsc"]]
    check(len(values) == 120 and min(values) >= -100000, "each sample printed")
    summary = next(e for e in events if e["event"] == "summary")
    check(summary["end_p50_ns"] >= summary["start_p50_ns"] >= summary["p50_ns"],
          "task starts after the handler and ends")
    check(summary["end_min_ns"] - summary["start_min_ns"] > 90000, "the task works for 100 us")


@test()
def other_cpus(env, accel):
    with Vm(env.elf, "wait=yes smp=2", accel, smp=2) as vm:
        check(vm.expect("ready")["cpus"] == 2, "second CPU started")
        check(vm.run(20)["samples"] == 20, "samples with two CPUs")


@test(accels=("tcg",))
def bad_parameters(env, accel):
    with Vm(env.elf, "wait=yes period_us=x nonsense=1", accel) as vm:
        vm.expect("error", text="bad parameter")
        vm.expect("error", text="bad parameter")
        check(vm.expect("ready")["period_us"] == 2000, "bad parameters are named and left out")


# --- with the device ---

def start_device(env, accel, append, **kwargs):
    return Vm(env.elf, "wait=yes " + append, accel, plugin=env.plugin, **kwargs)


def bring(vm, areas):
    vm.give(areas)
    return vm.expect("areas", present=True)


@test(device=True)
def negotiation(env, accel):
    for transport, feature, machine in (("bar", 1, "pc"), ("gpa", 2, "q35")):
        with start_device(env, accel, "scenario=busy transport=" + transport, machine=machine) as vm:
            ready = vm.expect("ready")
            check(ready["driver"] and ready["transport"] == transport, "driver by " + transport)
            check(ready["features"] == 0xfc | feature and ready["errors"] == 0, "features %#x" % ready["features"])
            check(vm.expect("areas")["present"] is False, "no areas yet")
            check(vm.get("transport-result") == "waiting", "the transport waits for areas")
            check(vm.get("driver-status") == 0xf, "driver is ok")
            areas = Areas()
            event = bring(vm, areas)
            check(event["slot"] == 0 and event["config_irqs"] > 0, "areas came, told by the interrupt")
            vm.set("policy", "latency:1")
            event = vm.expect("areas", policy="latency")
            check(event["policy_version"] == 1 and vm.get("policy-accept") == 1, "policy accepted")
            word = areas.wait_intent(lambda w: w & VALID)
            check(word & 0xf == 0 and not word & (0xff << 48 | IDLE), "ordinary task in the intent: %#x" % word)
            before = irq_seq(areas.intent())
            check_summary(vm.run(40), 40)
            steps = irq_seq(areas.intent()) - before & 0xff
            check(40 <= steps < 80, "interrupts counted: %d" % steps)
            host_state(vm, areas)
            come_and_go(vm, areas)
            # a store may be under way when the areas go: only those are counted
            check(vm.get("guest-errors") == vm.get("guest-errors-area"), "no protocol error")
            areas.close()


def host_state(vm, areas):
    rung = vm.get("doorbells")
    summary = vm.run(20)
    check(summary["doorbells"] == 0 and summary["boosted_seen"] == 0, "no doorbell without a boost")
    areas.set_state(CRITICAL, 0x01)
    summary = vm.run(20)
    check(summary["doorbells"] >= 20 and summary["boosted_seen"] >= 20,
          "doorbells while boosted: %d" % summary["doorbells"])
    check(summary["critical_throttled"] >= 20 and summary["total_throttled"] == 0, "throttling seen")
    areas.set_state(0, 0)
    vm.send("stats")
    count = vm.expect("stats")["doorbells"]
    check(vm.get("doorbells") - rung == count, "the device heard %d rings" % count)


def come_and_go(vm, areas):
    vm.set("areas", "")
    check(vm.expect("areas", present=False)["went"] == 1, "areas went")
    areas.maps[0][:8] = bytes(8)
    check(vm.run(20)["samples"] == 20 and areas.intent() == 0, "a round without areas")
    again = Areas()
    event = bring(vm, again)
    check(event["came"] == 2 and again.wait_intent(lambda w: w & VALID) & VALID, "areas came again, intent is there")
    third = Areas()
    vm.give(third)
    check(third.wait_intent(lambda w: w & VALID) & VALID, "areas replaced, intent is there")
    again.close()
    third.close()


@test(device=True)
def intents(env, accel):
    wanted = (
        ("idle", "", [("idle flag", lambda w: w & IDLE)]),
        ("rogue", "", [("critical without end", lambda w: w & PREEMPT_OFF)]),
        ("flap", "flap_us=500", [("critical", lambda w: w & PREEMPT_OFF),
                                 ("not critical", lambda w: w & VALID and not w & PREEMPT_OFF)]),
        ("busy", "features=0x1", [("no bit beyond the features", lambda w: w >> 48 == 0x8000)]),
    )
    for scenario, append, looks in wanted:
        with start_device(env, accel, "scenario=%s %s" % (scenario, append)) as vm:
            vm.expect("ready")
            areas = Areas()
            bring(vm, areas)
            for what, look in looks:
                check(areas.wait_intent(look) & VALID, "%s: %s" % (scenario, what))
            if scenario == "rogue":
                areas.set_state(CRITICAL, 0)
                summary = vm.run(20)
                check(summary["boosted_seen"] >= 20 and summary["doorbells"] == 0, "rogue rings nothing")
            areas.close()


@test(device=True)
def task_intent(env, accel):
    with start_device(env, accel, "scenario=task prio=42 work_us=20000 period_us=30000") as vm:
        vm.expect("ready")
        areas = Areas()
        bring(vm, areas)
        vm.send("run 10")
        word = areas.wait_intent(lambda w: w & 0xf == 1)
        check(word >> 16 & 0xff == 42 and not word & PENDING, "FIFO 42 is current: %#x" % word)
        vm.expect("summary")
        word = areas.wait_intent(lambda w: w & 0xf == 0)
        check(word & ~(0xff << 40) == VALID, "then the ordinary task: %#x" % word)
        areas.close()


@test(device=True)
def slots_of_cpus(env, accel):
    with start_device(env, accel, "scenario=rogue smp=2", smp=2) as vm:
        ready = vm.expect("ready")
        check(ready["slots"] == 2 and ready["cpus"] == 2, "two slots, two CPUs")
        areas = Areas(2)
        bring(vm, areas)
        for slot in range(2):
            check(areas.wait_intent(lambda w: w & PREEMPT_OFF, slot=slot) & VALID, "slot %d is used" % slot)
        areas.close()


@test(device=True)
def violations(env, accel):
    with start_device(env, accel, "scenario=violate") as vm:
        ready = vm.expect("ready")
        seen = {e["what"]: e for e in vm.events if e["event"] == "violation"}
        for what in ("features-ok-not-offered", "features-ok-too-early", "driver-ok-too-early"):
            check(seen[what]["errors"] > 0 and not seen[what]["status"] & 0xc, what + " refused")
        for what in ("write-read-only", "write-unknown", "write-1-byte", "write-2-bytes", "status-bits-removed",
                     "features-after-ok"):
            check(seen[what]["errors"] > 0, what + " counted")
        check(seen["transport-unknown"]["result"] == 5, "unknown transport refused")
        check(seen["transport-not-negotiated"]["result"] == 3, "transport before FEATURES_OK refused")
        for what in (w for w in seen if w.startswith("gpa-")):
            check(seen[what]["result"] == 4, what + " refused")
        check(ready["driver"] and ready["errors"] == vm.get("guest-errors"),
              "%d errors, then negotiated" % ready["errors"])
        areas = Areas()
        areas.set_state(0, 0)
        before = bytes(areas.maps[1])
        vm.give(areas)
        vm.expect("violated", part="areas")
        check(bytes(areas.maps[1]) == before, "host area unchanged")
        check(any(e.get("what") == "host-area-write-ignored" for e in vm.events),
              "the guest cannot write the host area")
        check(areas.wait_intent(lambda w: w == VALID | w & 0xff << 40) & VALID, "a good intent after the garbage")
        check(vm.run(20)["samples"] == 20, "goes on as busy")
        areas.close()


class Env:
    def __init__(self, elf):
        self.elf = elf
        self.plugin = os.environ.get("PVSCHED_PLUGIN")


def main():
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    env = Env(os.path.abspath(sys.argv[1]))
    if not shutil.which(mini_vm.QEMU):
        print("skipped: no %s" % mini_vm.QEMU)
        return 77
    no_kvm = mini_vm.kvm_usable()
    if no_kvm:
        print("without KVM: " + no_kvm)
    if not env.plugin:
        print("without the device: PVSCHED_PLUGIN is not set")
    for function, accel, device in tests:
        name = "%s-%s" % (function.__name__, accel)
        if (accel == "kvm" and no_kvm) or (device and not env.plugin):
            continue
        if len(sys.argv) > 2 and name not in sys.argv[2:] and function.__name__ not in sys.argv[2:]:
            continue
        print("# " + name, flush=True)
        try:
            function(env, accel)
        except Failure as err:
            check(False, str(err))
    print("%d passed, %d failed" % (passed, failed))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
