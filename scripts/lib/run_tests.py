#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the meson tests of the tiers, one tier after another, and counts their
cases. The last line on stdout is "N passed, N failed, N skipped".

A meson test is one program. How many cases it had is read from its output:
CppUTest's "OK (12 tests, 12 ran, ...)" or "Errors (1 failures, ...)", or a last
line "N passed, N failed[, N skipped]". A program without such a line is one
case. The program's exit status has the last word: 77 is a skip, any other
status but 0 at least one failure.
"""
import argparse
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time

TIERS = ["unit", "schema", "bpf", "device", "e2e", "lab"]
PARALLEL = {"unit", "schema"}  # the others share the kernel, or measure
DEFAULT = [t for t in TIERS if t != "lab"]  # the lab downloads kernels, and takes longer than all others together
LIVE = {"e2e", "lab"}  # their output is shown while they run
HEARTBEAT = 30  # seconds between signs of life

CPPUTEST = re.compile(
    r"^(?:OK|Errors) \((?:(\d+) failures, )?(\d+) tests, (\d+) ran, \d+ checks, (\d+) ignored", re.M)
SUMMARY = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\s*$", re.M)


def count(stdout, returncode, result):
    """(passed, failed, skipped) of one program."""
    stdout = re.sub(r"\x1b\[[0-9;]*m", "", stdout)
    if found := SUMMARY.findall(stdout):
        passed, failed, skipped = (int(n or 0) for n in found[-1])
    elif found := CPPUTEST.findall(stdout):
        passed = failed = skipped = 0
        for failures, _, ran, ignored in found:
            failed += int(failures or 0)
            passed += int(ran) - int(failures or 0)
            skipped += int(ignored)
        passed = max(passed, 0)
    else:
        passed, failed, skipped = (1, 0, 0) if result == "OK" else (0, 0, 0)
    if result == "SKIP" and returncode == 77:
        return passed, failed, max(skipped, 1)
    if result != "OK" or passed + failed + skipped == 0:  # no case at all proves nothing
        failed = max(failed, 1)
    return passed, failed, skipped


def reason(record):
    """The last thing that a program said."""
    lines = [l.strip() for l in (record.get("stdout") or "").splitlines() + (record.get("stderr") or "").splitlines()]
    lines = [l for l in lines if l and not SUMMARY.match(l)]
    return lines[-1] if lines else "no reason given"


def running(pid, tests):
    """Names of the tests that run as children of meson, as far as /proc tells."""
    names = []
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            children = f.read().split()
        for child in children:
            with open(f"/proc/{child}/cmdline", "rb") as f:
                words = f.read().decode(errors="replace").split("\0")[:-1]
            names += [t["name"] for t in tests if words[-len(t["cmd"]):] == t["cmd"]]
    except OSError:
        pass
    return ", ".join(dict.fromkeys(names))


class Run:
    def __init__(self, builddir, deadline):
        self.builddir = builddir
        self.deadline = deadline
        self.start = time.time()
        self.stopped = ""  # why no further test is started
        self.results = []
        self.faults = []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: setattr(self, "stopped", "interrupted"))

    def say(self, text):
        elapsed = int(time.time() - self.start)
        print(f"[{elapsed // 60:2d}:{elapsed % 60:02d}] {text}", flush=True)

    def fault(self, tier, name, text):
        """Something that is not there to be run: it counts as failed."""
        self.faults.append(f"{tier} / {name}: {text}" if name else f"{tier}: {text}")
        self.results.append({"tier": tier, "name": name, "result": "MISSING", "seconds": 0.0, "passed": 0,
                             "failed": 1, "skipped": 0, "reason": text})

    def command(self, tier, logbase):
        cmd = ["meson", "test", "-C", self.builddir, "--no-rebuild", "--suite", tier, "--logbase", logbase]
        if tier in LIVE:
            return cmd + ["--num-processes", "1", "--verbose"]
        return cmd + ["--print-errorlogs", "--num-processes", str(os.cpu_count() if tier in PARALLEL else 1)]

    def tier(self, tier, tests):
        self.say(f"{tier}: {len(tests)} test program{'s' if len(tests) != 1 else ''}")
        logbase = f"pvsched-{tier}"
        log = os.path.join(self.builddir, "meson-logs", f"{logbase}.json")
        if os.path.exists(log):
            os.unlink(log)
        env = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if tier not in PARALLEL:
            env["MALLOC_PERTURB_"] = "0"  # meson's default would slow down what is measured
        if not self.stopped:
            meson = subprocess.Popen(self.command(tier, logbase), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                     stdin=subprocess.DEVNULL, env=env, start_new_session=True)
            self.follow(meson, tests)
        self.collect(tier, tests, log)

    def follow(self, meson, tests):
        """Passes meson's output on, until it ends or the time is up."""
        sel = selectors.DefaultSelector()
        sel.register(meson.stdout, selectors.EVENT_READ)
        quiet_since, rest, ending = time.time(), b"", 0.0
        while True:
            left = self.deadline - time.time()
            if left <= 0 and not self.stopped:
                self.stopped = "time limit"
            if self.stopped and not ending:
                ending = time.time()
                self.say(f"{self.stopped}: stopping")
                meson.send_signal(signal.SIGTERM)
            if ending and time.time() - ending > 60:
                meson.kill()
            if not sel.select(timeout=1):
                if time.time() - quiet_since >= HEARTBEAT:
                    quiet_since = time.time()
                    self.say(f"still running: {running(meson.pid, tests) or 'a test'}")
                continue
            data = os.read(meson.stdout.fileno(), 65536)
            if not data:
                break
            quiet_since = time.time()
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self.show(line.decode(errors="replace").rstrip())
        self.show(rest.decode(errors="replace"))
        meson.wait()

    def show(self, line):
        # Meson's own totals are those of programs: ours come at the end.
        if re.match(r"(ninja|Ok|Expected Fail|Fail|Unexpected Pass|Skipped|Timeout): |Full log written|$", line):
            return
        self.say(line)

    def collect(self, tier, tests, log):
        records = []
        if os.path.exists(log):
            with open(log) as f:
                records = [json.loads(line) for line in f]
        seen = set()
        for record in records:
            name = record["name"].split(" / ")[-1]
            seen.add(name)
            self.add(tier, name, record)
        for test in tests:
            if test["name"] not in seen:
                self.add(tier, test["name"], {"result": "NOT RUN", "returncode": None, "duration": 0.0,
                                            "stdout": self.stopped})

    def add(self, tier, name, record):
        result, code = record["result"], record["returncode"]
        passed, failed, skipped = count(record.get("stdout") or "", code, result)
        entry = {"tier": tier, "name": name, "result": result, "seconds": round(record["duration"], 3),
                 "passed": passed, "failed": failed, "skipped": skipped}
        if result == "SKIP":
            entry["reason"] = reason(record)
            self.say(f"skipped: {tier} / {name}: {entry['reason']}")
        elif failed:
            entry["reason"] = reason(record)
            self.faults.append(f"{tier} / {name}: {result}")
        self.results.append(entry)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--builddir", required=True)
    parser.add_argument("--deadline", type=float, required=True, help="seconds since the epoch")
    parser.add_argument("--tier", action="append", choices=TIERS)
    parser.add_argument("--json")
    args = parser.parse_args()
    wanted = [t for t in TIERS if t in (args.tier or DEFAULT)]

    run = Run(os.path.abspath(args.builddir), args.deadline)
    listing = json.loads(subprocess.run(["meson", "introspect", "--tests", run.builddir], check=True,
                                        stdout=subprocess.PIPE).stdout)
    suites = {t: [e for e in listing if any(s.split(":")[-1] == t for s in e["suite"])] for t in TIERS}
    homeless = [e["name"] for e in listing if not any(e in tests for tests in suites.values())]
    for name in homeless:
        run.fault("none", name, "in no tier, so never run")
    for tier in wanted:
        if suites[tier]:
            run.tier(tier, suites[tier])
        else:
            run.fault(tier, "", "this tier has no tests")

    totals = {key: sum(entry[key] for entry in run.results) for key in ("passed", "failed", "skipped")}
    if args.json:
        with open(args.json, "w") as f:
            json.dump({**totals, "seconds": round(time.time() - run.start, 1), "faults": run.faults,
                       "tests": run.results}, f, indent=2)
            f.write("\n")
    for fault in run.faults:
        print(f"FAULT {fault}", flush=True)
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**totals))
    return 1 if run.faults or totals["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
