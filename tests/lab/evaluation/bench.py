# SPDX-License-Identifier: GPL-2.0-or-later
"""What a measurement needs of the place where it runs. The lab implements Bench; StressNg serves for its load()."""
import contextlib
import os
import re
import signal
import subprocess
import time
from typing import ContextManager, Protocol

from testbed.util import Failure, read, wait_for

from . import parse

MODES = ("vanilla", "dynamic", "static")
STRESS_COMMAND = "stress-ng --cpu 2 --iomix 1 --vm 1 --vm-bytes 128M --fork 1"


class Guest(Protocol):
    """A Linux guest with a shell, the measuring programs, cyclictest, hackbench and perf in its PATH."""

    def run(self, command: str, timeout: float) -> tuple[int, str]:
        """Runs a shell command to its end; returns its exit status and its output."""


class Load(Protocol):
    """The co-tenants. `metrics` is there when the block has ended: parse.stress_ng()."""
    metrics: dict[str, dict[str, float]]


class Bench(Protocol):
    """A KVM host with running guests. Guests and host may be used from several threads at the same time."""
    guests: list[Guest]
    sources: list[str]  # event sources that were on

    def host_run(self, command: str, timeout: float) -> tuple[int, str]:
        """As Guest.run, on the host."""

    def mode(self, name: str) -> ContextManager:
        """All guests under one of MODES: policy off, policy on, or every vCPU thread SCHED_FIFO."""

    def actuator(self, name: str) -> ContextManager:
        """Decisions are carried out by "setattr" or "scx"; by setattr afterwards. Skip where it cannot be."""

    def account(self) -> dict:
        """Of the first guest's vCPUs so far: {"applies", "decisions", "effect", "run"}; the last two are log2
        histograms of ns: a decision's event to its being in force, and a waiting vCPU's boost to its running."""

    def load(self) -> ContextManager[Load]:
        """STRESS_COMMAND on the host."""

    def policy(self, name: str) -> ContextManager:
        """The first guest served by that policy; by the default one otherwise."""

    def boosted_ms(self) -> float:
        """Run time with a boost of the first guest's vCPUs so far."""

    def tagged(self, on: bool) -> ContextManager:
        """The first guest foreground, the second background; or no tags."""

    def cpu_seconds(self, seconds: float) -> list[float]:
        """Time on a CPU that each guest's vCPU threads have together in the next `seconds`."""

    def driver(self, loaded: bool) -> ContextManager:
        """The guests with or without pvsched's driver; otherwise they have it."""

    def run_delay(self) -> tuple[int, int]:
        """run_delay() of the first guest's vCPU threads."""

    def hooks(self) -> list[dict]:
        """What the driver's statistics say of each of its hooks: {"hook", "calls", "ns" a call, "bytes" of code}; what
        is not known is left out."""

    def boosts(self) -> ContextManager[list]:
        """The list is filled when the block ends: (seconds, vCPU, class) of the first guest's decisions, for instance
        by parse.boost_trace()."""

    def context(self) -> dict:
        """What must be known to read the figures and is not common to all places: QEMU's version, the guest's kernel,
        the actuator, notes."""


class StressNg:
    """Context: stress-ng on this machine, in the background; begins when all stressors run."""

    def __init__(self, command: str = STRESS_COMMAND):
        self.command = command.split()
        self.metrics: dict[str, dict[str, float]] = {}

    def __enter__(self) -> "StressNg":
        wanted = sum(int(n) for name, n in re.findall(r"--(cpu|iomix|vm|fork) (\d+)", " ".join(self.command)))
        self.process = subprocess.Popen([*self.command, "--metrics-brief", "--timeout", "0", "--temp-path", "/tmp"],
                                        text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, start_new_session=True)
        try:
            wait_for("all of stress-ng", lambda: self._running() >= wanted, seconds=120, step=0.05)
        except BaseException:
            self._kill()
            raise
        return self

    def _running(self) -> int:
        """How many stressors have been started."""
        if self.process.poll() is not None:
            raise Failure(f"stress-ng ended: {self.process.stdout.read()[-400:]}")
        children = read(f"/proc/{self.process.pid}/task/{self.process.pid}/children", "").split()
        return sum(read(f"/proc/{pid}/comm", "").startswith("stress-ng-") for pid in children)

    def __exit__(self, kind, *_) -> None:
        try:
            self.process.send_signal(signal.SIGINT)
            text, _ = self.process.communicate(timeout=300)
        except subprocess.TimeoutExpired as error:
            raise Failure("stress-ng did not stop") from error
        finally:
            self._kill()
        if kind is None:
            self.metrics = parse.stress_ng(text)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def run_delay(tids: list[int]) -> tuple[int, int]:
    """Nanoseconds that threads were ready and waited for a CPU, and how often they got one, so far."""
    words = [read(f"/proc/{tid}/schedstat").split() for tid in tids]
    return sum(int(w[1]) for w in words), sum(int(w[2]) for w in words)


def machine() -> dict:
    """Kernel, processor and date of this machine, which is the host where Bench runs in it."""
    cpuinfo = read("/proc/cpuinfo", "")
    model = re.search(r"^model name\s*: (.*)$", cpuinfo, re.M)
    return {"kernel": os.uname().release, "cpu": model[1] if model else "unknown", "cpus": os.cpu_count(),
            "date": time.strftime("%Y-%m-%d")}
