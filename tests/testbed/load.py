# SPDX-License-Identifier: GPL-2.0-or-later
"""Co-tenants: processes that compute without end and count what they get done."""
import mmap
import os
import signal

from .util import thread_seconds


class Hogs:
    """Context: `number` busy processes pinned to `cpu`. `ops()` is the sum of their loops so far."""

    def __init__(self, cpu, number=2):
        self.cpu, self.number = cpu, number
        self.pids = []

    def __enter__(self):
        # Native words: struct.pack_into() with a byte order stores byte by byte, and a co-tenant may stop in between.
        self.counts = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("Q")
        for i in range(self.number):
            pid = os.fork()
            if pid == 0:
                try:
                    self._work(i)
                finally:
                    os._exit(1)  # the contexts around this one are the parent's to leave
            self.pids.append(pid)
        return self

    def _work(self, number):
        parent = os.getppid()
        os.setsid()  # with autogroups a session is one tenant, as a VM in its cgroup is
        os.sched_setaffinity(0, {self.cpu})
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        done = 0
        while True:
            for _ in range(2000):
                pass
            done += 1
            self.counts[8 * number] = done
            if done % 4096 == 0 and os.getppid() != parent:
                os._exit(0)

    def ops(self):
        return sum(self.counts[8 * i] for i in range(self.number))

    def cpu_seconds(self):
        """Time on a CPU of all of them so far."""
        return sum(thread_seconds(pid) for pid in self.pids)

    def __exit__(self, *_):
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self.pids = []
