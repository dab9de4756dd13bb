#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Policies through the user's doors: the domain's XML, virsh, pvschedctl."""
import contextlib
import os
import shutil
import sys
import tempfile

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, TESTS)

from lab.evaluation.parse import boost_trace  # noqa: E402
from testbed.checks import check, main, say  # noqa: E402
from testbed.domain import NAMESPACE  # noqa: E402
from testbed.host import virsh  # noqa: E402
from testbed.rogue import Rogue  # noqa: E402
from testbed.util import read, run, setting, wait_for, write  # noqa: E402

NAME = "pvsched-test-policies"
SOURCE = os.path.dirname(TESTS)


def element(name):
    """A pvsched element that asks for a policy, with the prefix that libvirt gives it."""
    return f'<p:pvsched xmlns:p="{NAMESPACE}"><p:policy name="{name}"/></p:pvsched>'


class Guest(Rogue):
    """A rogue whose element asks for a policy."""

    def __init__(self, bench, name):
        super().__init__(bench, NAME, element(name))

    def choose(self, name):
        """As `virsh metadata --live` does it."""
        virsh("metadata", NAME, NAMESPACE, "--live", "--key", "p", "--set",
              f'<pvsched><policy name="{name}"/></pvsched>')
        wait_for(f"policy {name}", lambda: self.status()["policy"] == name, 10, 0.02)

    def status(self):
        return self.bench.daemon.vm(NAME)

    def wait_nice(self, value):
        wait_for(f"nice {value}", lambda: os.getpriority(os.PRIO_PROCESS, self.tid) == value, 20, 0.001)


def hostile(bench, name):
    return os.path.join(bench.host.build.top, "tests", "bpf", f"{name}.bpf.o")


def refused(bench, *args):
    """What pvschedctl says of something that fails."""
    done = bench.daemon.ctl(*args, check=False)
    check(done.returncode == 1, f"{args}: exit status {done.returncode}")
    return done.stderr.strip()


def chosen_and_changed(bench):
    """The element names the policy; another one live; one that there is not: the default serves, and it is said."""
    with Guest(bench, "batch") as rogue:
        check(rogue.status()["policy"] == "batch", f"policy {rogue.status()['policy']}")
        rogue.wait_nice(19)
        rogue.choose("latency")
        rogue.wait_boosted()
        rogue.choose("mirror")
        rogue.wait_nice(0)
        before = rogue.status()["vcpus"][0]["stats"]["boosts"]["critical"]
        virsh("metadata", NAME, NAMESPACE, "--live", "--key", "p", "--set",
              '<pvsched><policy name="nosuch"/></pvsched>')
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
        with Guest(bench, "mine") as rogue:
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


def refusals(bench):
    """Each hostile object: its sentence, nothing loaded, VMs stay served."""
    with tempfile.TemporaryDirectory(prefix="pvsched-policy.") as folder, Guest(bench, "latency") as rogue:
        open_to_all = os.path.join(folder, "greedy.bpf.o")
        shutil.copy(hostile(bench, "greedy"), open_to_all)
        os.chmod(open_to_all, 0o666)
        expected = {"helper": "calls helper 5", "data": "section .bss", "program": "section tp_btf/sched_switch",
                    "stranger": "needs mailboxes", "endless": "the kernel refused it: infinite loop",
                    "beyond": "unbounded memory access"}
        for name, words in expected.items():
            said = refused(bench, "policy", "load", hostile(bench, name))
            say(said[:150])
            check(words in said, f"{name}: {said}")
        check("can be written to by others" in refused(bench, "policy", "load", open_to_all), "a file open to all")
        check("hostile" not in bench.daemon.ctl("policy", "list").stdout, "one of them is loaded")
        rogue.wait_boosted()


def contained(bench):
    """One that is always urgent is throttled; one that wishes nonsense is stopped and the default serves."""
    with Guest(bench, "latency") as rogue:
        bench.daemon.ctl("policy", "load", hostile(bench, "greedy"))
        rogue.choose("greedy")
        throttles = rogue.status()["vcpus"][0]["stats"]["throttles"]["critical"]
        wait_for("throttles", lambda: rogue.status()["vcpus"][0]["stats"]["throttles"]["critical"] > throttles + 2, 20)
        bench.daemon.ctl("policy", "load", hostile(bench, "nonsense"))
        rogue.choose("nonsense")
        wait_for("it is stopped", lambda: rogue.status()["policy"] == "latency", 20)
        listed = bench.daemon.ctl("policy", "list").stdout
        check("refused: policy 'nonsense' was stopped: " in listed, listed)
        rogue.wait_boosted()


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
    with Guest(bench, "latency") as rogue, tracefs() as folder, setting(os.path.join(folder, "tracing_on"), "1"):
        trace = os.path.join(folder, "trace")
        write(trace, "")
        virsh("metadata", NAME, NAMESPACE, "--live", "--key", "p", "--set", '<pvsched><debug level="1"/></pvsched>')
        wait_for("decisions", lambda: {"critical", "baseline"} <= {c for _, _, c in boost_trace(read(trace))}, 20, 0.1)
        rogue.choose("latency")  # and debug is off again


main([chosen_and_changed, written_and_loaded, refusals, contained, traced])
