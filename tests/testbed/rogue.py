# SPDX-License-Identifier: GPL-2.0-or-later
"""A VM that is always urgent, on a loaded CPU."""
import os

from .attr import policy
from .domain import Domain
from .load import Hogs
from .util import wait_for

BOOSTED = (os.SCHED_FIFO, os.SCHED_RR)


class Rogue:
    """Context: a VM whose guest is in a critical section all the time, served, with co-tenants on its CPU. `before` is
    called before it starts, `started` as soon as it runs, `served` when pvschedd serves it and no load is there yet."""

    def __init__(self, bench, name, metadata):
        self.bench = bench
        self.domain = Domain(bench.host, name, "scenario=rogue areas=wait", metadata=metadata)

    def before(self):
        """For subclasses."""

    def started(self):
        """For subclasses."""

    def served(self):
        """For subclasses."""

    def __enter__(self):
        self.domain.__enter__()
        self.before()
        self.domain.start()
        self.tid = self.domain.vcpu_tids()[0]
        self.started()
        # The load comes after the guest's start: beside it that takes many seconds, with boosts for halts alone.
        with self.domain.guest() as guest:
            guest.ready()
        self.bench.daemon.wait_active(self.domain.name, device=True)
        self.served()
        self.hogs = Hogs(self.domain.cpu)
        self.hogs.__enter__()
        return self

    def __exit__(self, *_):
        self.hogs.__exit__()
        self.domain.__exit__()

    def wait_boosted(self):
        wait_for("the vCPU is boosted", lambda: policy(self.tid) in BOOSTED, 20, 0.0005)
