#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests and hosts that die in the middle: whole rounds are kept, the others repeated and counted; nothing of another
build is continued."""
import contextlib
import dataclasses
import json
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))

from lab.evaluation import journal as journals, measurements, runner, verdicts  # noqa: E402
from lab.evaluation.cases import main  # noqa: E402
from lab.evaluation.fake import FakeBench  # noqa: E402
from testbed.util import Failure, Gone  # noqa: E402

PRESET = dataclasses.replace(measurements.PRESETS["quick"], rounds=3)
ROUND = 2 * 3  # commands in the guest in a round of latency: idle and busy, three modes


class HostDied(BaseException):
    """Nothing that runs in the host sees it coming."""


class Lab:
    """Runs evaluate() in one folder, again and again. `deaths`: at which command in a guest, of all that were ever
    begun, what is raised."""

    def __init__(self, folder, deaths=None):
        self.path = os.path.join(folder, "result.json")
        self.deaths, self.commands, self.opened, self.said = deaths or {}, 0, 0, []

    def fate(self, where):
        if where == "guest":
            self.commands += 1
            if self.commands in self.deaths:
                raise self.deaths[self.commands]

    def open(self, _):
        self.opened += 1
        return contextlib.nullcontext(FakeBench(fate=self.fate))

    def run(self, names=("latency",), run=None, build="v1", preset=PRESET, anew=False, opening=None):
        fine = runner.evaluate(opening or self.open, preset, self.path, names, "scripts/bench", self.said.append, build,
                               run, anew)
        return self.result(), fine

    def result(self):
        with open(self.path, encoding="utf-8") as file:
            return json.load(file)

    def journal(self):
        return journals.load(journals.path_of(self.path))


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())

    def undisturbed(self, names=("latency",)):
        with tempfile.TemporaryDirectory() as folder:
            return Lab(folder).run(names)[0]

    def check_rounds(self, result, whole, lost, name="latency"):
        of = result["rounds"][name]
        self.assertEqual((of["whole"], of["wanted"], of["lost"]), (whole, PRESET.rounds, lost))
        for cell in result["measurements"][name]["cells"]:
            self.assertEqual(len(cell["rounds"]), whole)


class GuestDies(Case):
    def test_its_round_is_repeated_as_a_whole_with_a_new_guest(self):
        lab = Lab(self.folder, {ROUND + 4: Gone("QEMU of bench0 ended")})
        result, fine = lab.run()
        self.assertTrue(fine)
        self.check_rounds(result, 3, 1)
        self.assertEqual((lab.opened, lab.commands), (2, 3 * ROUND + 4))
        plain = self.undisturbed()
        for part in ("cells", "cotenants", "command"):
            kept = json.dumps(result["measurements"]["latency"][part])
            self.assertEqual(kept, json.dumps(plain["measurements"]["latency"][part]))

    def test_what_its_end_hides_is_a_death_too(self):
        @contextlib.contextmanager
        def opening(_):
            try:
                yield FakeBench(fate=lab.fate)
            except Gone:
                raise Failure("cannot detach")  # what is undone in a guest that is no more
        lab = Lab(self.folder, {n: Gone("no answer") for n in range(1, runner.ERRORS + 2)})
        result, fine = lab.run(opening=opening)
        self.assertTrue(fine)
        self.check_rounds(result, 3, runner.ERRORS + 1)

    def test_what_is_found_once_stays(self):
        first = len(PRESET.buffers)  # commands that calibrate
        lab = Lab(self.folder, {first + 3: Gone("no answer")})
        result, _ = lab.run(["audio"])
        self.check_rounds(result, 3, 1, "audio")
        self.assertEqual(lab.commands, first + 3 + 3 * ROUND * len(PRESET.buffers))

    def test_so_often_at_most(self):
        lab = Lab(self.folder, {n: Gone("no answer") for n in range(ROUND + 1, 1000)})
        result, fine = lab.run(["latency", "timeline"])
        self.assertFalse(fine)
        self.check_rounds(result, 1, runner.LOST)
        self.assertIn("no answer", result["rounds"]["latency"]["why"])
        self.assertIn(f"{runner.LOST} lost rounds", result["failed"]["timeline"])
        judged = [v for v in verdicts.verdicts(result) if v["group"] == "latency"]
        self.assertEqual({v["rounds"] for v in judged}, {1})
        self.assertTrue(all(v["met"] for v in judged))

    def test_without_a_whole_round_it_is_missing_and_the_next_is_measured(self):
        lab = Lab(self.folder, {n: Gone("no answer") for n in range(1, runner.LOST + 1)})
        result, fine = lab.run(["latency", "timeline"])
        self.assertFalse(fine)
        self.assertEqual(list(result["measurements"]), ["timeline"])
        self.assertIn("no answer", result["failed"]["latency"])
        found = [v for v in verdicts.verdicts(result) if v["group"] == "latency"]
        self.assertEqual([v["met"] for v in found], [None])
        self.assertIn("no answer", found[0]["why"])


class HostDies(Case):
    def died(self, at, names=("latency",), **more):
        lab = Lab(self.folder, {at: HostDied()})
        with self.assertRaises(HostDied):
            lab.run(names, run="a", **more)
        return lab

    def test_whole_rounds_are_in_the_result_at_once(self):
        result = self.died(2 * ROUND + 1).result()
        self.check_rounds(result, 2, 0)
        self.assertIn("not come to its end", result["rounds"]["latency"]["why"])

    def test_the_rounds_that_are_missing_are_measured(self):
        lab = self.died(ROUND + 2, ["latency", "timeline"])
        result, fine = lab.run(["latency", "timeline"], run="a")
        self.assertTrue(fine)
        self.check_rounds(result, 3, 1)
        self.assertEqual(lab.journal().of("lost", "latency")[0]["why"], "the lab's host died")
        self.assertEqual(lab.commands, ROUND + 2 + 2 * ROUND + 1)
        self.assertIn("timeline", result["measurements"])

    def test_a_line_that_was_half_written_is_not_a_round(self):
        lab = self.died(2 * ROUND + 1)
        path = journals.path_of(lab.path)
        with open(path, "rb") as file:
            lines = file.read().splitlines(keepends=True)
        last = max(i for i, line in enumerate(lines) if b'"round"' in line)
        for torn in (lines[last][:-1], lines[last][:40]):
            with open(path, "wb") as file:
                file.write(b"".join(lines[:last]) + torn)
            self.assertEqual(len(lab.journal().of("round", "latency")), 1)
            with open(path, "ab") as file:
                file.write(torn)
        result, fine = lab.run(run="a")
        self.assertTrue(fine)
        self.check_rounds(result, 3, 1)
        self.assertEqual(len(lab.journal().of("round", "latency")), 3)

    def test_a_measurement_that_kills_it_each_time_is_given_up(self):
        lab = Lab(self.folder, {n: HostDied() for n in range(1, runner.LOST + 1)})
        for _ in range(runner.LOST):
            with self.assertRaises(HostDied):
                lab.run(["latency", "timeline"], run="a")
        result, fine = lab.run(["latency", "timeline"], run="a")
        self.assertFalse(fine)
        self.assertIn("the lab's host died", result["failed"]["latency"])
        self.assertIn("timeline", result["measurements"])
        result, fine = lab.run(["latency", "timeline"], run="b")  # started again by hand: it is tried again
        self.assertTrue(fine)
        self.check_rounds(result, 3, runner.LOST)

    def test_a_run_that_cannot_end_is_concluded_with_the_reason(self):
        lab = self.died(ROUND + 1, ["latency", "timeline"])
        self.assertFalse(runner.conclude(lab.path, "b", "the time limit was over", lab.said.append))
        self.assertTrue(runner.conclude(lab.path, "a", "the time limit was over", lab.said.append))
        result = lab.result()
        self.check_rounds(result, 1, 1)
        self.assertEqual(result["rounds"]["latency"]["why"], "the time limit was over")
        self.assertEqual(result["failed"], {"timeline": "the time limit was over"})
        self.assertTrue(runner.conclude(lab.path, "a", "another", lab.said.append))
        self.check_rounds(lab.result(), 1, 1)


class Continued(Case):
    def broken_off(self):
        lab = Lab(self.folder, {ROUND + 1: HostDied()})
        with self.assertRaises(HostDied):
            lab.run(run="a")
        return lab

    def old(self, lab):
        return os.path.exists(journals.path_of(lab.path) + ".old")

    def test_the_same_command_goes_on_and_says_so(self):
        lab = self.broken_off()
        result, _ = lab.run(run="b")
        self.check_rounds(result, 3, 1)
        self.assertFalse(self.old(lab))
        self.assertTrue(any(text.startswith("goes on: 1 whole round") for text in lab.said))
        self.assertEqual(lab.journal().of("lost", "latency")[0]["why"], "the run was broken off")

    def test_nothing_is_mixed(self):
        for run in ("a", "b"):  # also when the build changes while the host is booted again
            for other in ({"build": "v2"}, {"preset": dataclasses.replace(PRESET, seconds=4)},
                          {"names": ["latency", "audio"]}, {"run": "b", "anew": True}):
                with self.subTest(f"{run} {other}"), tempfile.TemporaryDirectory() as self.folder:
                    lab = self.broken_off()
                    result, _ = lab.run(**{"run": run} | other)
                    self.check_rounds(result, 3, 0)
                    self.assertTrue(self.old(lab))
                    self.assertTrue(any("set aside" in text for text in lab.said))
                    self.assertEqual(result["context"]["build"], other.get("build", "v1"))

    def test_another_kernel_is_another_journal(self):
        lab = self.broken_off()
        path = journals.path_of(lab.path)
        with open(path, encoding="utf-8") as file:
            header, _, rest = file.read().partition("\n")
        with open(path, "w", encoding="utf-8") as file:
            file.write(json.dumps(json.loads(header) | {"kernel": "1.0"}) + "\n" + rest)
        self.check_rounds(lab.run(run="a")[0], 3, 0)
        self.assertTrue(any("kernel (1.0, now" in text for text in lab.said))

    def test_what_is_complete_is_measured_anew(self):
        lab = Lab(self.folder)
        lab.run(run="a")
        lab.run(run="a")  # the host died as it shut down
        self.assertEqual(lab.commands, 3 * ROUND)
        result, _ = lab.run(run="b")
        self.assertEqual(lab.commands, 6 * ROUND)
        self.check_rounds(result, 3, 0)
        self.assertTrue(self.old(lab))

    def test_days_are_told(self):
        lab = self.broken_off()
        path = journals.path_of(lab.path)
        with open(path, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        for line in lines:
            if "round" in line:
                line["date"] = "2001-02-03"
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
        date = lab.run(run="a")[0]["context"]["date"]
        self.assertRegex(date, r"^2001-02-03 to 20\d\d-\d\d-\d\d$")


if __name__ == "__main__":
    main(__name__)
