#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The measuring programs: their report is whole and consistent, wrong options are refused. Arguments: their paths."""
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))

from lab.evaluation.cases import main  # noqa: E402

PATHS = {}


def run(name, *options):
    return subprocess.run([PATHS[name], *options], text=True, capture_output=True, check=False)


def report(name, *options):
    done = run(name, *options)
    if done.returncode:
        raise AssertionError(f"{name} {' '.join(options)}: {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


class Programs(unittest.TestCase):
    def check_histogram(self, h):
        self.assertEqual(h["count"], sum(n for _, n in h["histogram"]))
        values = [us for us, _ in h["histogram"]]
        self.assertEqual(values, sorted(set(values)))
        if h["count"]:
            self.assertEqual(values[-1], h["max_us"])
            self.assertLessEqual(h["avg_us"], sum(us * n for us, n in h["histogram"]) / h["count"] + 0.001)

    def test_glitch_counts_each_period(self):
        out = report("glitch", "--buffer-ms", "2", "--duration", "0.2", "--priority", "0")
        self.assertEqual(out["periods"], out["wake"]["count"])
        self.assertLessEqual(out["glitches"], out["lost_periods"])
        self.assertGreater(out["units"], 1)
        self.check_histogram(out["wake"])
        self.check_histogram(out["full"])

    def test_glitch_is_certain_when_work_exceeds_the_period_and_playing_goes_on(self):
        units = report("glitch", "--buffer-ms", "4", "--load", "0.95", "--duration", "0.01", "--priority", "0")["units"]
        out = report("glitch", "--buffer-ms", "1", "--units", str(units), "--duration", "0.2", "--priority", "0")
        self.assertEqual(out["glitches"], out["periods"])
        self.assertGreater(out["periods"], 1)
        self.assertGreaterEqual(out["lost_periods"], 2 * out["glitches"])

    def test_lockholder_in_each_kind(self):
        for kind in ("spin", "mutex", "pi-mutex", "kernel", "none"):
            if kind == "spin" and os.cpu_count() < 2:
                continue
            with self.subTest(kind):
                out = report("lockholder", "--lock", kind, "--duration", "0.2", "--priority", "0")
                self.assertEqual(out["lock"], kind)
                self.assertGreater(out["operations"], 0)
                self.assertEqual(out["holders"]["wait"]["count"], out["operations"])
                self.assertEqual(out["holders"]["hold"]["count"], 0 if kind == "kernel" else out["operations"])
                for h in (out["urgent"]["wake"], out["urgent"]["wait"], *out["holders"].values()):
                    self.check_histogram(h)

    def test_without_urgent_thread(self):
        out = report("lockholder", "--lock", "none", "--threads", "1", "--interval-us", "0", "--duration", "0.1",
                     "--priority", "0")
        self.assertEqual(out["urgent"]["wait"]["count"], 0)
        self.assertGreater(out["operations"], 0)

    def test_wrong_options_are_refused(self):
        for name, options in (("glitch", ["--load", "2"]), ("glitch", ["--buffer-ms", "x"]), ("glitch", ["more"]),
                              ("lockholder", ["--lock", "none such"]), ("lockholder", ["--threads", "0"]),
                              ("lockholder", ["--no-such-option"])):
            done = run(name, *options)
            self.assertEqual((done.returncode, done.stdout), (2, ""), (name, options))
            self.assertTrue(done.stderr)

    def test_help(self):
        for name in PATHS:
            self.assertIn(f"usage: {name}", run(name, "--help").stdout)


if __name__ == "__main__":
    PATHS.update((os.path.basename(path), path) for path in sys.argv[1:])
    if os.geteuid() != 0:
        print("not root: the programs lock their memory")
        sys.exit(77)
    main(__name__)
