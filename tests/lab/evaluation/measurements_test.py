#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The measurements on a bench that computes its answers: order, whole data, failures; and the verdicts, both ways."""
import contextlib
import dataclasses
import json
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))

from lab.evaluation import measurements, runner, verdicts  # noqa: E402
from lab.evaluation.cases import main  # noqa: E402
from lab.evaluation.fake import HELPS, USELESS, FakeBench  # noqa: E402
from testbed.util import Failure, Skip  # noqa: E402

PRESET = dataclasses.replace(measurements.PRESETS["full"], rounds=3)


def quiet(_):
    pass


def evaluated(helps=None, names=None, bench=None, opening=None):
    """The result's JSON and whether it went well."""
    opening = opening or (lambda needs: contextlib.nullcontext(bench or FakeBench(helps)))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "result.json")
        fine = runner.evaluate(opening, PRESET, path, names, "scripts/bench", quiet)
        with open(path, encoding="utf-8") as file:
            return json.load(file), fine


def measured(name, bench=None):
    """The one measurement of that name."""
    return evaluated(names=[name], bench=bench)[0]["measurements"][name]


class Order(unittest.TestCase):
    def test_modes_take_turns_and_each_round_begins_anew(self):
        bench = FakeBench()
        out = measured("latency", bench)
        seen = [(mode, busy) for mode, busy, command in bench.ran if "-i 500" in command][::2]  # guest and host
        once = [(mode, busy) for busy in (False, True) for mode in ("vanilla", "dynamic", "static")]
        self.assertEqual(seen, once * PRESET.rounds)
        self.assertEqual(len(out["cells"]), 2 * 2 * 2 * 3)
        self.assertTrue(all(len(cell["rounds"]) == PRESET.rounds for cell in out["cells"]))
        self.assertEqual(len(out["cotenants"]), 2 * 3)

    def test_the_wait_of_the_vcpu_is_that_of_the_segment(self):
        cells = measured("latency")["cells"]
        rounds = verdicts.pick(cells, where="guest", interval_us=500, load="busy", mode="dynamic")
        self.assertEqual([r["vcpu_wait_us"] for r in rounds], [30 + HELPS["dynamic"][0]] * PRESET.rounds)
        self.assertEqual(verdicts.removed_wait(cells, 500)["median"], 0.99)

    def test_with_and_without_driver_take_turns_to_begin(self):
        bench = FakeBench()
        loaded = []
        real = bench.driver
        bench.driver = lambda on: loaded.append(on) or real(on)
        measured("throughput", bench)
        self.assertEqual(loaded, [False, True, True, False] * PRESET.rounds)

    def test_audio_does_the_same_work_in_all_modes(self):
        bench = FakeBench()
        out = measured("audio", bench)
        played = [c for _, _, c in bench.ran][len(PRESET.buffers):]
        self.assertTrue(all("--units 1000" in c for c in played))
        self.assertEqual(len(played), PRESET.rounds * len(PRESET.buffers) * 2 * 3)
        self.assertEqual(out["units"], {str(ms): 1000 for ms in PRESET.buffers})

    def test_audio_is_served_by_both_policies_in_turn(self):
        cells = measured("audio-policies")["cells"]
        self.assertEqual(len(cells), len(PRESET.buffers) * 2 * 2)
        for cell in cells:
            self.assertEqual({r["boosted_ms"] for r in cell["rounds"]}, {100 if cell["policy"] == "audio" else 300})
        share = verdicts.boosted_share(cells, buffer_ms=2, beside="nothing")
        self.assertEqual((share["median"], share["worst"]), (0.3333, 0.3333))
        for cell in cells:
            for one in cell["rounds"] if cell["policy"] == "audio" else []:
                one["glitches"] += 1
        judged = [v.met for v in verdicts.audio_policies_verdicts({"cells": cells})]
        self.assertEqual(judged, [False, True, False, True])

    def test_static_priority_is_kept_from_what_it_would_stop(self):
        bench = FakeBench()
        measured("lockholder", bench)
        measured("rivals", bench)
        self.assertNotIn("static", {mode for mode, _, _ in bench.ran})

    def test_tags_come_with_the_share_of_each_guest(self):
        cells = measured("tags")["cells"]
        self.assertEqual({(c["own"], c["tags"]) for c in cells}, {(own, tags) for tags in ("with", "without") for own in
                                                                  ("cyclictest alone", "computes too")})
        for cell in cells:
            self.assertEqual(cell["rounds"][0]["share"], 0.1 if cell["tags"] == "with" else 0.5)
            self.assertEqual("foreground_s" in cell["rounds"][0], cell["own"] == "computes too")

    def test_timeline_begins_at_zero(self):
        samples = measured("timeline")["samples"]
        self.assertEqual((samples[0], samples[1]), ([0.0, 0, "baseline"], [0.0007, 1, "task"]))


class Runner(unittest.TestCase):
    def test_all_of_them(self):
        result, fine = evaluated()
        self.assertTrue(fine)
        self.assertEqual(list(result["measurements"]), list(measurements.MEASUREMENTS))
        self.assertEqual((result["failed"], result["skipped"]), ({}, {}))
        for key in ("kernel", "cpu", "date", "command", "rounds", "qemu", "guest_kernel"):
            self.assertIn(key, result["context"])
        self.assertEqual({of["lost"] for of in result["rounds"].values()}, {0})
        self.assertTrue(all(of["whole"] == of["wanted"] for of in result["rounds"].values()))
        self.assertTrue(all(m["sources"] == FakeBench.sources for m in result["measurements"].values()))

    def test_what_fails_or_cannot_be_is_named_and_the_rest_goes_on(self):
        @contextlib.contextmanager
        def opening(needs):
            if needs.guests == 2:
                raise Skip("one guest at most")
            if needs.vcpus == 4:
                raise Failure("the guest did not boot")
            yield FakeBench()
        result, fine = evaluated(opening=opening)
        self.assertFalse(fine)
        self.assertEqual(result["skipped"], {name: "one guest at most" for name in ("rivals", "tags")})
        self.assertEqual(result["failed"], {"lockholder": "Failure: the guest did not boot"})
        self.assertIn("timeline", result["measurements"])

    def test_a_command_that_always_fails_is_a_failure(self):
        bench = FakeBench()
        bench.guests[0].run = lambda command, timeout: (1, "no such program")
        result, fine = evaluated(names=["audio"], bench=bench)
        self.assertFalse(fine)
        self.assertIn("no such program", result["failed"]["audio"])
        self.assertEqual(result["rounds"]["audio"]["lost"], runner.ERRORS)


class Verdicts(unittest.TestCase):
    def met(self, result, group, text):
        found = [v for v in verdicts.verdicts(result) if v["group"] == group and text in v["text"]]
        self.assertTrue(found, text)
        self.assertEqual(len({v["met"] for v in found}), 1, found)
        return found[0]["met"]

    def test_all_bounds_are_met_by_a_policy_that_helps(self):
        result, _ = evaluated(HELPS)
        out = verdicts.verdicts(result)
        self.assertEqual([v for v in out if v["met"] is not True], [])
        self.assertEqual(len(out), 2 * 2 * 6 + 2 + 4 + 2 + 2 + 7 + 6)

    def test_a_policy_that_does_nothing_does_not_meet_them(self):
        result, _ = evaluated(USELESS)
        for group in ("latency", "latency, real-time task"):
            self.assertFalse(self.met(result, group, "average added by load"))
            self.assertFalse(self.met(result, group, "p99 added by load"))
            self.assertFalse(self.met(result, group, "dynamic over static"))
        self.assertFalse(self.met(result, "audio", "2 ms"))
        self.assertFalse(self.met(result, "audio", "10 ms"))
        self.assertTrue(self.met(result, "throughput", "hackbench"))

    def test_cotenants_host_and_driver_can_fail_too(self):
        result, _ = evaluated()
        for tenant in result["measurements"]["latency"]["cotenants"]:
            for one in tenant["rounds"] if tenant["mode"] == "dynamic" else []:
                one["stress"]["cpu"]["ops_s"] /= 2
        for cell in result["measurements"]["latency"]["cells"]:
            for one in cell["rounds"] if (cell["where"], cell["mode"]) == ("host", "dynamic") else []:
                one["latency"]["p99_us"] *= 1.2
        for cell in result["measurements"]["throughput"]["cells"]:
            for one in cell["rounds"] if cell["driver"] else []:
                one["seconds"] *= 1.1
        self.assertFalse(self.met(result, "latency", "stress-ng"))
        self.assertFalse(self.met(result, "latency", "host's busy p99"))
        self.assertFalse(self.met(result, "throughput", "hackbench"))
        self.assertFalse(self.met(result, "throughput", "sched pipe"))

    def test_placement_that_is_worth_nothing(self):
        result, _ = evaluated(names=["placement"])
        self.assertTrue(self.met(result, "placement", "over spin"))
        cells = result["measurements"]["placement"]["cells"]
        self.assertEqual(verdicts.placed_ratio(cells, "busy", "spin", "p99_us")["median"], 100)
        for cell in cells:
            for one in cell["rounds"] if cell["lock"] == "placed" else []:
                one["operations_s"] = 80.0
        self.assertFalse(self.met(result, "placement", "over spin"))

    def test_the_median_is_judged_and_the_worst_is_kept(self):
        found = verdicts.judge("g", "t", "<=", 1.1, {"median": 1.0, "worst": 3.0})
        self.assertEqual((found.met, found.worst), (True, 3.0))
        self.assertTrue(verdicts.judge("g", "t", "<=", 1.1, {"median": 1.1, "worst": 1.1}).met)
        self.assertFalse(verdicts.judge("g", "t", ">", 1.0, {"median": 1.0, "worst": 1.0}).met)

    def test_nothing_that_was_not_measured_is_met(self):
        result, _ = evaluated(names=["timeline"])
        self.assertEqual(verdicts.verdicts(result), [])  # nothing else was asked for
        result["rounds"]["audio"] = {"wanted": 3, "whole": 0, "lost": 6}
        self.assertEqual([v["met"] for v in verdicts.verdicts(result)], [None])
        result, _ = evaluated(names=["latency"])
        cells = result["measurements"]["latency"]["cells"]
        result["measurements"]["latency"]["cells"] = [c for c in cells if c["mode"] != "static"]
        self.assertIsNone(self.met(result, "latency", "dynamic over static"))

    def test_no_latency_added_is_no_proof(self):
        result, _ = evaluated({mode: (0, 0) for mode in HELPS})
        self.assertIsNone(self.met(result, "latency", "average added by load"))
        self.assertIsNone(self.met(result, "audio", "10 ms"))

    def test_where_a_histogram_ends_the_worse_bound_counts(self):
        result, _ = evaluated(names=["latency"])
        for cell in result["measurements"]["latency"]["cells"]:
            if (cell["where"], cell["load"], cell["mode"]) == ("guest", "busy", "dynamic"):
                for one in cell["rounds"]:
                    one["latency"]["beyond"] = {"p99_us": [one["latency"]["p99_us"], 1e6]}
        self.assertFalse(self.met(result, "latency", "p99 added by load"))

    def test_a_coarse_count_is_replaced_by_processor_time(self):
        cotenants = [{"interval_us": 500, "mode": mode, "rounds": [{"stress": {
            "vm": {"ops": ops, "ops_s": float(ops), "seconds": 10.0, "cpu_s": cpu}}}]}
            for mode, ops, cpu in (("vanilla", 2, 4.0), ("dynamic", 1, 3.9))]
        self.assertEqual(verdicts.cotenant_ratio(cotenants, 500)["median"], 0.975)
        self.assertEqual(verdicts.cotenant_ratio(cotenants, 500, "ops")["median"], 0.5)

    def test_no_glitch_at_all_counts_as_one(self):
        self.assertEqual(verdicts.fewer([30, 10], [0, 0]), {"median": 40.0, "worst": 10.0})
        self.assertEqual(verdicts.fewer([10, 10], [10, 20])["median"], 0.6667)
        self.assertIsNone(verdicts.fewer([0, 0], [0, 0]))
        self.assertIsNone(verdicts.fewer([1], [1, 1]))


if __name__ == "__main__":
    main(__name__)
