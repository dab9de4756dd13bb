# SPDX-License-Identifier: GPL-2.0-or-later
"""A VM that asks for a policy, and policy objects that pvschedd is to refuse."""
import os

from .checks import check
from .domain import NAMESPACE
from .host import virsh
from .rogue import Rogue
from .util import wait_for


class PolicyGuest(Rogue):
    """A rogue whose element asks for a policy, in a domain called `name`."""

    def __init__(self, bench, name, policy):
        super().__init__(bench, name, f'<p:pvsched xmlns:p="{NAMESPACE}"><p:policy name="{policy}"/></p:pvsched>')
        self.name = name

    def set_live(self, child):
        """As `virsh metadata --live` does it: an element with this child."""
        virsh("metadata", self.name, NAMESPACE, "--live", "--key", "p", "--set", f"<pvsched>{child}</pvsched>")

    def choose(self, policy):
        """Another policy, while the VM runs."""
        self.set_live(f'<policy name="{policy}"/>')
        wait_for(f"policy {policy}", lambda: self.status()["policy"] == policy, 10, 0.02)

    def status(self):
        return self.bench.daemon.vm(self.name)

    def wait_nice(self, value):
        wait_for(f"nice {value}", lambda: os.getpriority(os.PRIO_PROCESS, self.tid) == value, 20, 0.001)


def hostile(bench, name):
    """The object of tests/bpf/hostile."""
    return os.path.join(bench.host.build.top, "tests", "bpf", f"{name}.bpf.o")


def refused(bench, *args):
    """What pvschedctl says of something that fails."""
    done = bench.daemon.ctl(*args, check=False)
    check(done.returncode == 1, f"{args}: exit status {done.returncode}: {done.stderr}")
    return done.stderr.strip()
