#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Policies through the user's doors: the domain's XML, virsh, pvschedctl."""
import contextlib
import json
import os
import re
import select
import sys
import tempfile
import time

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, TESTS)

from lab.evaluation.parse import boost_trace  # noqa: E402
from testbed.attr import policy  # noqa: E402
from testbed.checks import check, main, say  # noqa: E402
from testbed.host import virsh  # noqa: E402
from testbed.policies import PolicyGuest, refused  # noqa: E402
from testbed.util import read, run, setting, wait_for, write  # noqa: E402

NAME = "pvsched-test-policies"
SOURCE = os.path.dirname(TESTS)


def chosen_and_changed(bench):
    """The element names the policy; another one live; one that there is not: the default serves, and it is said."""
    with PolicyGuest(bench, NAME, "batch") as rogue:
        check(rogue.status()["policy"] == "batch", f"policy {rogue.status()['policy']}")
        rogue.wait_nice(19)
        rogue.choose("latency")
        rogue.wait_boosted()
        rogue.choose("mirror")
        rogue.wait_nice(0)
        before = rogue.status()["vcpus"][0]["stats"]["boosts"]["critical"]
        rogue.set_live('<policy name="nosuch"/>')
        warning = "policy 'nosuch' is not loaded; latency serves the VM"
        wait_for("the warning", lambda: warning in bench.daemon.log(), 10)
        rogue.wait_boosted()
        check(rogue.status()["vcpus"][0]["stats"]["boosts"]["critical"] > before, "no boost by the default")


def written_and_loaded(bench):
    """pvschedctl policy new, make, make test, verify, load; a VM is served by it; a new version replaces it."""
    with tempfile.TemporaryDirectory(prefix="pvsched-policy.") as folder:
        mine = os.path.join(folder, "mine")
        bench.daemon.ctl("policy", "new", "mine", mine, "--template", os.path.join(SOURCE, "bpf-policy", "template"))
        include = f"PVSCHED_INCLUDE={os.path.join(SOURCE, 'include')}"
        run("make", "-C", mine, include)
        say(run("make", "-s", "-C", mine, include, "test").stdout.strip().replace("\n", ", "))
        built = os.path.join(mine, "mine.bpf.o")
        check("can be loaded" in bench.daemon.ctl("policy", "verify", built).stdout, "verify does not say so")
        check("has no policy 'mine'" in refused(bench, "policy", "show", "mine"), "verified is loaded")
        bench.daemon.ctl("policy", "load", built)
        with PolicyGuest(bench, NAME, "mine") as rogue:
            rogue.wait_boosted()
            source = os.path.join(mine, "mine.bpf.c")
            with open(source, encoding="utf-8") as file:
                text = file.read()
            with open(source, "w", encoding="utf-8") as file:
                file.write(text.replace('"0.1"', '"0.2"').replace("wish->body = event->critical;",
                           "wish->body = pvs_decision(PVSCHED_CLASS_YIELD, PVSCHED_SCHED_OTHER, 7, 0);"))
            run("make", "-C", mine, include)
            check("swap replaces it" in refused(bench, "policy", "load", built), "load replaced it")
            bench.daemon.ctl("policy", "swap", built)
            rogue.wait_nice(7)
            check("0.2" in bench.daemon.ctl("policy", "show", "mine").stdout, "the version shown is the old one")


def answered_meanwhile(bench):
    """While an object is verified pvschedd answers others: hooks, which libvirtd waits for, and pvschedctl status."""
    batch = os.path.join(bench.host.build.policies, "batch.bpf.o")
    with PolicyGuest(bench, NAME, "latency") as rogue, bench.daemon.connect() as swap:
        swap.sendall(json.dumps({"op": "policy-swap", "path": batch}).encode() + b"\n")
        answered = 0
        while not select.select([swap], [], [], 0)[0]:
            bench.daemon.status()
            run(bench.host.build.hook, "--socket", bench.daemon.socket, NAME, "prepare", "begin", "-",
                stdin="<domain/>")
            answered += 1
        say(f"status and hook answered {answered} times while one policy was swapped")
        check(answered > 1, "neither status nor hook was answered before the swap")
        check(json.loads(swap.recv(65536))["ok"], "the swap failed")
        rogue.wait_boosted()


def swapped(bench):
    """Many swaps by pvschedctl under load: each switch of the vCPU is counted, and no boost is left over."""
    latency = os.path.join(bench.host.build.policies, "latency.bpf.o")
    with PolicyGuest(bench, NAME, "latency") as rogue:
        def held():
            """Switches of the vCPU's thread as the kernel and as the policy count them, while the VM is suspended."""
            virsh("suspend", NAME)
            wait_for("the vCPU sleeps", lambda: thread_state(rogue.tid) == "S", 20, 0.01)
            stats = rogue.status()["vcpus"][0]["stats"]
            return thread_switches(rogue.tid), stats["preemptions"] + stats["halts"]

        before = held()
        virsh("resume", NAME)
        begin = time.monotonic()
        for _ in range(bench.options.repeat):
            bench.daemon.ctl("policy", "swap", latency)
        seconds = time.monotonic() - begin
        kernel, ours = (b - a for a, b in zip(before, held()))
        say(f"{bench.options.repeat} swaps in {seconds:.0f} s: the kernel counts {kernel} switches, the policy {ours}")
        check(kernel <= ours <= kernel + bench.options.repeat, "an event was lost, or counted more than twice")
        bench.daemon.ctl("disable", NAME)
        wait_for("no boost is left over", lambda: policy(rogue.tid) == os.SCHED_OTHER, 10)
        bench.daemon.ctl("enable", NAME)
        virsh("resume", NAME)
        rogue.wait_boosted()


def thread_switches(tid):
    """How often a thread has left a CPU, as the kernel counts."""
    return sum(int(count) for count in re.findall(r"ctxt_switches:\s*(\d+)", read(f"/proc/{tid}/status")))


def thread_state(tid):
    return re.search(r"^State:\s*(\w)", read(f"/proc/{tid}/status"), re.M)[1]


@contextlib.contextmanager
def tracefs():
    """The folder of the kernel's trace, mounted for a while where it is not."""
    if os.path.exists("/sys/kernel/tracing/trace"):
        yield "/sys/kernel/tracing"
        return
    run("mount", "-t", "tracefs", "tracefs", "/sys/kernel/tracing")
    try:
        yield "/sys/kernel/tracing"
    finally:
        run("umount", "/sys/kernel/tracing")


def traced(bench):
    """debug level 1 writes each decision to the kernel's trace, in the form that the lab's evaluation reads."""
    with (PolicyGuest(bench, NAME, "latency") as rogue, tracefs() as folder,
          setting(os.path.join(folder, "tracing_on"), "1")):
        trace = os.path.join(folder, "trace")
        write(trace, "")
        rogue.set_live('<debug level="1"/>')
        wait_for("decisions", lambda: {"critical", "baseline"} <= {c for _, _, c in boost_trace(read(trace))}, 20, 0.1)
        rogue.choose("latency")  # and debug is off again


main([chosen_and_changed, written_and_loaded, answered_meanwhile, swapped, traced],
     lambda parser: parser.add_argument("--repeat", type=int, default=5, help="swaps of the case `swapped`"))
