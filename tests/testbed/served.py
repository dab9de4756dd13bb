# SPDX-License-Identifier: GPL-2.0-or-later
"""A domain that pvschedd serves."""
from .domain import NAMESPACE, Domain
from .host import virsh


class Served(Domain):
    """Context: a running VM with these elements in its metadata, served with its device. `tid`: its first vCPU's."""

    def __init__(self, bench, name, scenario, inside, **more):
        self.bench, self.tid = bench, None
        super().__init__(bench.host, name, f"scenario={scenario} areas=wait", **more,
                         metadata=f'<p:pvsched xmlns:p="{NAMESPACE}">{inside}</p:pvsched>')

    def __enter__(self):
        super().__enter__()
        try:
            self.start()
            with self.guest() as guest:
                guest.ready()
            self.bench.daemon.wait_active(self.name, device=True)
            self.tid = self.vcpu_tids()[0]
        except BaseException:
            self.__exit__()
            raise
        return self

    def element(self, inside):
        """Other elements, as `virsh metadata --live` sets them; without a prefix."""
        virsh("metadata", self.name, NAMESPACE, "--live", "--key", "p", "--set", f"<pvsched>{inside}</pvsched>")
