# SPDX-License-Identifier: GPL-2.0-or-later
"""A Bench that computes what the programs would print: for the tests of measurements, verdicts and report."""
import contextlib
import json
import re

from . import parse

STRESS = """stress-ng: metrc: [7] stressor       bogo ops real time  usr time  sys time   bogo ops/s     bogo ops/s
stress-ng: metrc: [7]                           (secs)    (secs)    (secs)   (real time) (usr+sys time)
"""
# Microseconds that load adds for a guest, by mode; glitches by mode.
HELPS = {"vanilla": (4000, 400), "dynamic": (40, 4), "static": (40, 4)}
USELESS = {**HELPS, "dynamic": HELPS["vanilla"]}


def cyclictest(base, cycles=1000):
    """A report: most at `base`, some later, a tail that grows with it."""
    buckets = {base: cycles - 60, base + 3: 40, base * 2: 19, base * 5: 1}
    total = sum(us * n for us, n in buckets.items())
    return {"return_code": 0, "thread": {"0": {"histogram": {str(us): n for us, n in buckets.items()}, "cycles": cycles,
                                               "min": base, "max": base * 5, "avg": total / cycles}}}


def histogram(us, count=100):
    return {"count": count, "avg_us": us, "max_us": us, "histogram": [[us, count]]}


class FakeGuest:
    """Answers the commands; `where` it is decides how late it is."""

    def __init__(self, bench, where):
        self.bench, self.where = bench, where
        self.left = []  # reports of the last job, to be fetched

    def run(self, command, timeout):
        assert timeout > 0
        if command.startswith("tr "):
            return 0, self._printed(self.left)
        self.bench.fate(self.where)
        self.bench.ran.append((self.bench.now, self.bench.busy, command))
        if "cyclictest -q" in command and "glitch" not in command:
            self.left = [cyclictest(self.bench.late(self.where))]
            if "lockholder" in command:
                self.left.append({"operations_per_s": 9000.0})
            lines = []
        elif "glitch" in command:
            ms = float(re.search(r"--buffer-ms ([\d.]+)", command)[1])
            glitches = int(self.bench.helps[self.bench.now][1] * 2 / ms) if self.bench.busy else 0
            lines = [{"units": 1000, "periods": 5000, "glitches": glitches, "lost_periods": 2 * glitches,
                      "wake": histogram(10.0), "full": histogram(500.0)}]
        elif command.startswith("lockholder"):
            kernel = "--lock kernel" in command
            wait = 4000.0 if "--lock spin" in command else 40.0
            lines = [{"operations_per_s": 320000 / wait, "urgent": {"wake": histogram(20.0), "wait": histogram(30.0)},
                      "holders": {"wait": histogram(wait), "hold": histogram(50.0, 0 if kernel else 100)}}]
        elif "/tmp/hog" in command:
            return 0, ""
        elif "hackbench" in command:
            return 0, f"Running in process mode\nTime: {1.01 if self.bench.loaded else 1.0:.3f}\n"
        elif command.startswith("stress-ng"):
            return 0, STRESS + "stress-ng: metrc: [7] cpu 1000 3.00 1.50 0.50 333.33 10.00\n"
        elif "perf bench" in command:
            return 0, "0.500\n"
        else:
            return 127, f"sh: {command}: not found\n"
        return 0, self._printed(lines)

    @staticmethod
    def _printed(lines):
        return "".join(json.dumps(line, separators=(",", ":")) + "\r\n" for line in lines)


class FakeBench:
    """`helps` says what each mode does (HELPS, USELESS); `fate` is called with "guest" or "host" as each command
    begins, and may raise what ends it."""
    sources = ["sched_switch", "kvm_exit"]

    def __init__(self, helps=None, guests=2, fate=None):
        self.helps = helps or HELPS
        self.fate = fate or (lambda where: None)
        self.ran = []
        self.now, self.busy, self.loaded = "dynamic", False, True
        self.guests = [FakeGuest(self, "guest") for _ in range(guests)]
        self.host_run = FakeGuest(self, "host").run
        self.metrics = {}
        self.waited = self.runs = self.boosted = 0
        self.now_by = "latency"
        self.tags = False
        self.carrier, self.accounts, self.applies, self.delays = "setattr", 0, 0, [0] * 40

    def late(self, where):
        if not self.busy:
            return 30
        return 30 + (self.helps[self.now][0] if where == "guest" else 20)

    @contextlib.contextmanager
    def mode(self, name):
        before, self.now = self.now, name
        yield
        self.now = before

    @contextlib.contextmanager
    def actuator(self, name):
        before, self.carrier = self.carrier, name
        yield
        self.carrier = before

    def account(self):
        """Grows with each look: faster and without calls under scx."""
        scx = self.carrier == "scx"
        self.accounts += 1
        self.applies += 0 if scx else 100
        self.delays[10 if scx else 14] += 100
        return {"applies": self.applies, "decisions": 100 * self.accounts, "effect": list(self.delays),
                "run": list(self.delays)}

    @contextlib.contextmanager
    def load(self):
        self.busy = True
        yield self
        self.busy = False
        rate = 500 if self.now == "static" else 1000
        self.metrics = parse.stress_ng(STRESS + "".join(
            f"stress-ng: metrc: [7] {name:<12} {ops:>6} 3.00 1.50 0.50 {ops / 3:.2f} 10.00\n"
            for name, ops in (("cpu", rate), ("iomix", rate * 9), ("vm", 3), ("fork", rate // 4))))

    @contextlib.contextmanager
    def tagged(self, on):
        self.now, self.busy, self.tags = "dynamic" if on else "vanilla", True, on
        yield
        self.now, self.busy = "dynamic", False

    def cpu_seconds(self, seconds):
        """What each guest has with tags or without."""
        return [seconds * share for share in ((0.9, 0.1) if self.tags else (0.5, 0.5))]

    @contextlib.contextmanager
    def driver(self, loaded):
        self.loaded = loaded
        yield
        self.loaded = True

    @contextlib.contextmanager
    def policy(self, name):
        self.now_by, before = name, self.now_by
        yield
        self.now_by = before

    def boosted_ms(self):
        """Grows with each look; audio takes a third of it."""
        self.boosted += 100 if self.now_by == "audio" else 300
        return self.boosted

    def run_delay(self):
        """Grows with each look, by what a vCPU waits in this mode."""
        self.waited += self.late("guest") * 1000 * 50
        self.runs += 50
        return self.waited, self.runs

    def hooks(self):
        return [{"hook": "sched_switch", "calls": 1000, "ns": 61.5, "bytes": 480}, {"hook": "irq_handler_entry"}]

    @contextlib.contextmanager
    def boosts(self):
        found = []
        yield found
        found += [(5 + i * 0.0007, i % 2, ("baseline", "task", "critical")[i % 3]) for i in range(120)]

    def context(self):
        return {"guest_kernel": "6.1.0", "qemu": "7.2", "notes": ["A note."]}
