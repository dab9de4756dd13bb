#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Preferred CPUs and classes of QEMU's own threads: given, changed, and put back by pvschedd and by its guardian."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from testbed.attr import attributes  # noqa: E402
from testbed.checks import check, main  # noqa: E402
from testbed.host import virsh  # noqa: E402
from testbed.load import Hogs  # noqa: E402
from testbed.served import Served  # noqa: E402
from testbed.util import wait_for  # noqa: E402

NAME = "pvsched-test-place"
BOTH = {0, 1}


class Placed(Served):
    """Context: a running VM of one vCPU that never sleeps and may run on both CPUs."""

    def __init__(self, bench, inside):
        super().__init__(bench, NAME, "busy", inside, cpu="0-1")

    def wait_on(self, cpus):
        wait_for(f"the vCPU may run on {cpus}", lambda: os.sched_getaffinity(self.tid) == cpus, 30, 0.02)


KEPT = 'prefer="1,7" busy="100"'  # whatever else this machine does
LEFT = 'prefer="1,7" busy="1"'


def preferred(bench):
    """The vCPU is kept where it prefers, never outside its pinning, and leaves when others are busy there."""
    with Placed(bench, f"<p:cpus {KEPT}/>") as placed:
        placed.wait_on({1})
        virsh("vcpupin", NAME, "0", "0", "--live")
        placed.wait_on({0})  # nothing is left of the preference
        virsh("vcpupin", NAME, "0", "0-1", "--live")
        placed.wait_on({1})
        placed.element("")
        placed.wait_on(BOTH)
        placed.element(f"<cpus {KEPT}/>")
        placed.wait_on({1})
        with Hogs(1, 2):
            placed.element(f"<cpus {LEFT}/>")
            placed.wait_on(BOTH)
            check(bench.daemon.vm(NAME)["vcpus"][0]["cpus"]["away"], "the status does not say that it is away")


def put_back_by_the_guardian(bench):
    """pvschedd is killed: affinity and class are as they were."""
    with Placed(bench, f'<p:cpus {KEPT}/><p:thread kind="emulator" nice="-5"/>') as placed:
        placed.wait_on({1})
        wait_for("the emulator's class", lambda: attributes(placed.pid())["nice"] == -5, 10)
        bench.daemon.kill()
        bench.daemon.reap()
        placed.wait_on(BOTH)
        wait_for("the emulator's own class", lambda: attributes(placed.pid())["nice"] == 0, 10)
        bench.daemon.start()
        bench.daemon.wait_active(NAME)
        placed.wait_on({1})


def threads_have_classes(bench):
    """A class is given, changed and taken back while the VM runs; an administrator's own is left alone."""
    def nice():
        return attributes(placed.pid())["nice"]

    with Placed(bench, '<p:thread kind="emulator" nice="7"/>') as placed:
        before = 0
        wait_for("nice 7", lambda: nice() == 7, 10)
        placed.element('<thread kind="emulator" nice="-3"/>')
        wait_for("nice -3", lambda: nice() == -3, 10)
        check(bench.daemon.vm(NAME)["threads"][0]["name"] == "emulator", "the status does not name it")
        placed.element("")
        wait_for("its own class", lambda: nice() == before, 10)
        placed.element('<thread kind="emulator" nice="4"/>')
        wait_for("nice 4", lambda: nice() == 4, 10)
        os.setpriority(os.PRIO_PROCESS, placed.pid(), 9)
        wait_for("pvschedd's word on that", lambda: "was changed by somebody else" in bench.daemon.log(), 20)
        placed.element("")
        wait_for("the class is given up", lambda: "threads" not in bench.daemon.vm(NAME), 10)
        check(nice() == 9, f"nice {nice()}: the administrator's setting is gone")


main([preferred, put_back_by_the_guardian, threads_have_classes])
