#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Tags through the user's doors: the domain's XML, virsh, pvschedctl; background VMs give way to foreground ones."""
import contextlib
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from testbed.checks import check, main, say  # noqa: E402
from testbed.load import Hogs  # noqa: E402
from testbed.served import Served  # noqa: E402
from testbed.util import read, wait_for  # noqa: E402

NAME = "pvsched-test-tag"
NICE_BACKGROUND = 19


class Tenant(Served):
    """Context: a running VM that never sleeps, served by the policy `tagged`."""

    def __init__(self, bench, name, inside=""):
        super().__init__(bench, f"{NAME}-{name}", "rogue", f'<p:policy name="tagged"/>{inside}')

    def retag(self, name):
        self.element(f'<policy name="tagged"/><tag name="{name}"/>')

    def tag(self, vcpu=0):
        """(name, origin) as the status shows them."""
        tag = self.bench.daemon.vm(self.name)["vcpus"][vcpu].get("tag")
        return (tag["name"], tag["origin"]) if tag else None

    def wait_tag(self, *expected):
        wait_for(f"{self.name} has the tag {expected}", lambda: self.tag() == expected, 10, 0.02)

    def weight(self):
        """Of the VM's cgroup, and the least that there is; (None, None) where the host has no such controller."""
        for line in read(f"/proc/{self.pid()}/cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            for root, name, least in ((f"/sys/fs/cgroup/{controllers}", "cpu.shares", 2),
                                      ("/sys/fs/cgroup", "cpu.weight", 1)):
                file = os.path.join(root + path.removesuffix("/emulator").removesuffix("/libvirt"), name)
                if ("cpu" in controllers.split(",") or not controllers) and os.path.exists(file):
                    return int(read(file)), least
        return None, None

    def wait_nice(self, value):
        wait_for(f"{self.name} has nice {value}", lambda: os.getpriority(os.PRIO_PROCESS, self.tid) == value, 20, 0.001)


def refused(bench, *args):
    done = bench.daemon.ctl(*args, check=False)
    check(done.returncode in (1, 2), f"{args}: exit status {done.returncode}")
    return done.stderr.strip()


def by_metadata(bench):
    """<tag> of two VMs: the background one gives way while the foreground one wants the CPU; changed live."""
    with Tenant(bench, "back", '<p:tag name="background"/>') as back, Hogs(back.cpu):
        back.wait_tag("background", "metadata, vm")
        before = back.weight()
        say(f"weight of its cgroup: {before[0]}")
        with Tenant(bench, "fore", '<p:tag name="foreground"/>') as fore:
            fore.wait_tag("foreground", "metadata, vm")
            back.wait_nice(NICE_BACKGROUND)
            wait_for("the cgroup gives way too", lambda: back.weight()[0] == back.weight()[1], 10)
            fore.retag("none")
            back.wait_nice(0)
            wait_for("its weight is back", lambda: back.weight() == before, 10)
            fore.retag("online")
            back.wait_nice(NICE_BACKGROUND)
        back.wait_nice(0)  # it is gone


def by_command(bench):
    """pvschedctl tag set, list, clear on VM and vCPU; more specific wins; limits that change leave them alone."""
    ctl = bench.daemon.ctl
    own = '<p:vcpu id="0" tag="foreground"/>'
    with Tenant(bench, "back") as back, Hogs(back.cpu), Tenant(bench, "fore", own) as fore:
        fore.wait_tag("foreground", "metadata, vcpu")
        ctl("tag", "set", "vm", back.name, "background")
        check(back.tag() == ("background", "vm"), str(back.tag()))
        back.wait_nice(NICE_BACKGROUND)
        ctl("tag", "set", "vcpu", back.name, "0", "none")
        back.wait_nice(0)
        ctl("tag", "clear", "vcpu", back.name, "0")
        back.wait_nice(NICE_BACKGROUND)
        back.retag("foreground")
        check(back.tag() == ("background", "vm"), "an element took a tag away that pvschedctl had set")
        listed = ctl("tag", "list").stdout
        say(listed.replace("\n", "; "))
        for words in (f"{back.name} 0", "background", "metadata, vcpu", "foreground threads that want a CPU now: 1"):
            check(words in listed, f"'{words}' is not in the list: {listed}")
        check("known are none, foreground" in refused(bench, "tag", "set", "vm", back.name, "nosuch"), "unknown tag")
        check("there is no vCPU 9" in refused(bench, "tag", "set", "vcpu", back.name, "9", "background"), "no vCPU 9")
        check("no session" in refused(bench, "tag", "set", "vm", "nosuch", "background"), "no such VM")


@contextlib.contextmanager
def cgroup():
    """A cgroup of its own, for threads."""
    top = next(d for d in ("/sys/fs/cgroup/pids", "/sys/fs/cgroup") if os.path.exists(os.path.join(d, "cgroup.procs")))
    path = os.path.join(top, NAME)
    os.mkdir(path)
    try:
        yield path
    finally:
        os.rmdir(path)


def threads_and_cgroups(bench):
    """A service of the host is foreground by its TID, or by its cgroup: background VMs give way to it."""
    ctl = bench.daemon.ctl
    with Tenant(bench, "back", '<p:tag name="background"/>') as back, Hogs(back.cpu), cgroup() as folder:
        with Hogs(back.cpu, 1) as service:
            ctl("tag", "set", "thread", service.pids[0], "foreground")
            back.wait_nice(NICE_BACKGROUND)
            check(os.getpriority(os.PRIO_PROCESS, service.pids[0]) == 0, "the service itself was changed")
            ctl("tag", "clear", "thread", service.pids[0])
            back.wait_nice(0)
            ctl("tag", "set", "cgroup", folder, "foreground")
            with open(os.path.join(folder, "cgroup.procs"), "w", encoding="ascii") as file:
                file.write(str(service.pids[0]))
            back.wait_nice(NICE_BACKGROUND)
        back.wait_nice(0)  # the service has ended
        check("no cgroup's folder" in refused(bench, "tag", "set", "cgroup", "/tmp", "foreground"), "/tmp is taken")
        ctl("tag", "set", "vm", back.name, "foreground")
        ctl("tag", "set", "thread", back.tid, "background")
        check(back.tag() == ("background", "thread"), str(back.tag()))


main([by_metadata, by_command, threads_and_cgroups])
