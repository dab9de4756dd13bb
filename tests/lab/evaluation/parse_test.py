#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the programs print is read whole or refused."""
import copy
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))

from lab.evaluation import parse  # noqa: E402
from lab.evaluation.cases import main  # noqa: E402
from lab.evaluation.parse import Unreadable  # noqa: E402

# rt-tests 2.4, cyclictest -q -D 1 -i 1000 -h 100 --json=FILE, shortened
CYCLICTEST = {
    "file_version": 1, "cmdline:": "cyclictest -q", "return_code": 0, "num_threads": 1, "resolution_in_ns": 0,
    "thread": {"0": {"histogram": {"56": 7, "57": 41, "62": 50}, "cycles": 100, "min": 56, "max": 3973, "avg": 99.59,
                     "cpu": 0, "node": 0}}}

STRESS = """stress-ng: info:  [9427] setting to a 3 second run per stressor
stress-ng: info:  [9427] dispatching hogs: 2 cpu, 1 iomix, 1 vm, 1 fork
stress-ng: metrc: [9427] stressor       bogo ops real time  usr time  sys time   bogo ops/s     bogo ops/s
stress-ng: metrc: [9427]                           (secs)    (secs)    (secs)   (real time) (usr+sys time)
stress-ng: metrc: [9427] cpu                1236      3.01      1.31      0.02       410.45         930.73
stress-ng: metrc: [9427] iomix             39160      3.14      0.19      1.55     12490.53       22507.69
stress-ng: metrc: [9427] vm                    0      3.11      0.36      0.52         0.00           0.00
stress-ng: info:  [9427] successful run completed in 3.14s
"""

HACKBENCH = """Running in process mode with 10 groups using 40 file descriptors each (== 400 tasks)
Each sender will pass 20 messages of 100 bytes
Time: 0.313
"""

TRACE = """# tracer: nop
 CPU 0/KVM-812   [001] d..31   120.000100: bpf_trace_printk: pvsched: vm 3 vcpu 0 events 4
 CPU 1/KVM-813   [000] d..31   120.000101: bpf_trace_printk: pvsched: vm 3 vcpu 1 events 2
 CPU 0/KVM-812   [001] d..31   120.000102: bpf_trace_printk: pvsched: need 1 state 8032000102
 CPU 1/KVM-813   [000] d..31   120.000103: bpf_trace_printk: pvsched: need 0 state 8000000000
          <idle>-0       [001] dNh31   120.000090: bpf_trace_printk: pvsched: vm 4 vcpu 0 events 2
          <idle>-0       [001] dNh31   120.000091: bpf_trace_printk: pvsched: need 4 state 8032000101
 something else-1 [001] d..31   120.2: sched_switch: prev_comm=x
"""


class Cyclictest(unittest.TestCase):
    def changed(self, **changes):
        report = copy.deepcopy(CYCLICTEST)
        report["thread"]["0"].update(changes)
        return report

    def test_what_the_buckets_lack_is_above_the_limit(self):
        h = parse.cyclictest(CYCLICTEST, 100)
        self.assertEqual((h.count, h.over, h.limit, h.max_us, h.avg_us), (100, 2, 100.0, 3973, 99.59))
        self.assertEqual(h.buckets, {56.0: 7, 57.0: 41, 62.0: 50})

    def test_threads_are_added_up(self):
        report = self.changed()
        report["thread"]["1"] = {"histogram": {"57": 100}, "cycles": 100, "max": 57, "avg": 57.0}
        h = parse.cyclictest(report, 100)
        self.assertEqual((h.count, h.buckets[57.0], h.max_us), (200, 141, 3973))
        self.assertAlmostEqual(h.avg_us, (99.59 + 57) / 2)

    def test_what_does_not_fit_is_refused(self):
        wrong = [self.changed(cycles=97), self.changed(cycles=0, histogram={}), self.changed(max=99),
                 self.changed(histogram={"x": 1}), {**CYCLICTEST, "return_code": 1}, {}, {"thread": {}}]
        for report in wrong:
            with self.assertRaises(Unreadable, msg=str(report)):
                parse.cyclictest(report, 100)


class Programs(unittest.TestCase):
    def test_json_lines_among_others(self):
        self.assertEqual(parse.json_lines('# x\r\n{"a": 1}\r\n\nnoise {\n {"b": 2}\n'), [{"a": 1}, {"b": 2}])
        with self.assertRaises(Unreadable):
            parse.json_lines('{"a": ')

    def test_histogram(self):
        h = parse.program_histogram({"count": 3, "avg_us": 2.0, "max_us": 3.5, "histogram": [[1.5, 2], [3.5, 1]]})
        self.assertEqual((h.buckets, h.count, h.over), ({1.5: 2, 3.5: 1}, 3, 0))
        for wrong in ({}, {"count": 4, "avg_us": 2.0, "max_us": 3.5, "histogram": [[1.5, 2]]},
                      {"count": 2, "avg_us": 2.0, "max_us": 3.5, "histogram": [1.5, 2]}):
            with self.assertRaises(Unreadable):
                parse.program_histogram(wrong)

    def test_stress_ng(self):
        out = parse.stress_ng(STRESS)
        self.assertEqual(list(out), ["cpu", "iomix", "vm"])
        self.assertEqual(out["iomix"], {"ops": 39160, "ops_s": 12490.53, "seconds": 3.14, "cpu_s": 1.74})
        self.assertEqual(out["vm"]["ops"], 0)
        with self.assertRaises(Unreadable):
            parse.stress_ng("stress-ng: info:  [9427] dispatching hogs: 2 cpu\n")

    def test_hackbench(self):
        self.assertEqual(parse.hackbench(HACKBENCH), 0.313)
        for wrong in ("", "Time: x\n", HACKBENCH * 2):
            with self.assertRaises(Unreadable):
                parse.hackbench(wrong)

    def test_perf_bench(self):
        self.assertEqual(parse.perf_bench("0.049\r\n".replace("\r", "")), 0.049)
        for wrong in ("", "perf: not found\n", "1.0\n2.0\n"):
            with self.assertRaises(Unreadable):
                parse.perf_bench(wrong)


class Trace(unittest.TestCase):
    def test_the_two_lines_of_a_decision_belong_together(self):
        self.assertEqual(parse.boost_trace(TRACE, 3), [(120.0001, 0, "critical"), (120.000101, 1, "baseline")])
        self.assertEqual(parse.boost_trace(TRACE)[0], (120.00009, 0, "task"))

    def test_an_unknown_class_is_refused(self):
        with self.assertRaises(Unreadable):
            parse.boost_trace(TRACE.replace("8032000102", "8032000107"))

    def test_half_a_decision_is_left_out(self):
        self.assertEqual(parse.boost_trace("\n".join(TRACE.splitlines()[:2])), [])


if __name__ == "__main__":
    main(__name__)
