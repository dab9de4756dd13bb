#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The report: same JSON, same bytes; every number comes from the JSON; charts are well formed; the committed page is
current."""
import contextlib
import copy
import glob
import io
import json
import os
import subprocess
import sys
import tempfile
import unittest
from xml.etree import ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.normpath(os.path.join(HERE, "..", "..", ".."))
sys.path[:0] = [os.path.join(TOP, "tests"), os.path.join(TOP, "scripts", "lib", "report")]

import charts  # noqa: E402
import report  # noqa: E402
import svg  # noqa: E402
import text  # noqa: E402
from lab.evaluation import measurements, runner  # noqa: E402
from lab.evaluation.cases import main  # noqa: E402
from lab.evaluation.fake import FakeBench  # noqa: E402

PROGRAM = os.path.join(TOP, "scripts", "lib", "report", "report.py")
COMMITTED = sorted(glob.glob(os.path.join(TOP, "docs", "benchmarks", "*.json")))


def page(folder, paths):
    """What the program writes: {file name: bytes}."""
    output = os.path.join(folder, "page.md")
    subprocess.run([sys.executable, "-B", PROGRAM, "--output", output, *paths], check=True, capture_output=True)
    found = {}
    for path in [output, *glob.glob(os.path.join(folder, "page", "*"))]:
        with open(path, "rb") as file:
            found[os.path.relpath(path, folder)] = file.read()
    return found


class Whole(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.path = os.path.join(cls.folder, "lab.json")
        runner.evaluate(lambda needs: contextlib.nullcontext(FakeBench()), measurements.PRESETS["full"], cls.path,
                        command="scripts/bench --lab", say=lambda _: None)
        with open(cls.path, encoding="utf-8") as file:
            cls.result = json.load(file)
        cls.files = page(cls.folder, [cls.path, *COMMITTED])
        cls.page = cls.files["page.md"].decode()

    def test_same_json_same_bytes(self):
        with tempfile.TemporaryDirectory() as other:
            self.assertEqual(page(other, [*reversed(COMMITTED), self.path]), self.files)

    def test_all_charts_are_there_shown_and_well_formed(self):
        names = {os.path.basename(name) for name in self.files if name.endswith(".svg")}
        self.assertLessEqual({"lab-latency-500.svg", "lab-latency-1000.svg", "lab-latency-rr-500.svg",
                              "lab-latency-cotenants.svg", "lab-timeline.svg"}, names)
        for name in names:
            self.assertIn(f"](benchmarks/{name})", self.page)
            root = ElementTree.fromstring(self.files[f"page/{name}"])
            self.assertTrue(root.tag.endswith("svg"))
            for node in root.iter():
                for key in ("x", "y", "width", "height", "d"):
                    self.assertNotIn("nan", node.get(key, ""))

    def test_sources_figures_stand_beside_ours(self):
        for theirs in ("216835 / 13978 / 1728", "199575 / 70651 / 1537", "2447", "6649 / 765 / 204", "1365 / 67",
                       "25 / 24"):
            self.assertIn(theirs, self.page)

    def test_context_is_told(self):
        for word in (self.result["context"]["kernel"], "6.1.0", "sched_switch, kvm_exit".split(", ")[1], "A note.",
                     "scripts/bench --lab", self.result["context"]["date"]):
            self.assertIn(word, self.page)

    def test_bounds_follow_the_figures(self):
        # By itself: the figures beside it on the page are measured ones.
        found = {kind: [] for kind in report.KINDS} | {"evaluation": [("lab", self.result)]}
        self.assertNotIn("**no**", report.render(found)[0])
        worse = copy.deepcopy(self.result)
        for cell in worse["measurements"]["throughput"]["cells"]:
            for one in cell["rounds"] if cell["driver"] else []:
                one["seconds"] *= 2
        found = {kind: [] for kind in report.KINDS} | {"evaluation": [("lab", worse)]}
        self.assertEqual(report.render(found)[0].count("**no**"), 2)

    def test_what_is_missing_leaves_its_section_out(self):
        part = copy.deepcopy(self.result)
        part["measurements"] = {"audio": part["measurements"]["audio"]}
        found = {kind: [] for kind in report.KINDS} | {"evaluation": [("lab", part)]}
        out, svgs = report.render(found)
        self.assertIn("#### Audio", out)
        self.assertNotIn("#### cyclictest", out)
        self.assertIn("not measured", out)
        self.assertEqual(svgs, {})

    def test_rounds_lost_and_missing_are_told(self):
        part = copy.deepcopy(self.result)
        part["rounds"]["audio"] = {"wanted": 5, "whole": 3, "lost": 6, "why": "the guest died"}
        for measured in part["measurements"]["audio"]["cells"]:
            del measured["rounds"][3:]
        out, _ = report.render({kind: [] for kind in report.KINDS} | {"evaluation": [("lab", part)]})
        self.assertIn("| lost rounds |", out)
        self.assertIn("| audio | 3 of 5 | 6 | the guest died |", out)
        self.assertIn("| latency | 5 of 5 | 0 |  |", out)
        self.assertRegex(out, r"\| audio \| 2 ms, busy: .* \| 3 \| yes \|")

    def test_check_finds_a_page_that_is_not_current(self):
        with tempfile.TemporaryDirectory() as folder:
            page(folder, [self.path])
            command = [sys.executable, "-B", PROGRAM, "--check", "--output", os.path.join(folder, "page.md"), self.path]
            self.assertEqual(subprocess.run(command, capture_output=True, check=False).returncode, 0)
            with open(os.path.join(folder, "page", "lab-timeline.svg"), "a", encoding="utf-8") as file:
                file.write(" ")
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("lab-timeline.svg", done.stdout)

    def test_an_unknown_kind_is_refused(self):
        path = os.path.join(self.folder, "other.json")
        with open(path, "w", encoding="utf-8") as file:
            file.write('{"kind": "other"}')
        with self.assertRaises(ValueError), contextlib.redirect_stderr(io.StringIO()):
            report.load([path])


class Committed(unittest.TestCase):
    def test_page_and_charts_are_what_the_data_give(self):
        done = subprocess.run([sys.executable, "-B", PROGRAM, "--check"], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class Pieces(unittest.TestCase):
    def test_numbers(self):
        for value, shown in ((None, "–"), (3, "3"), (0.953, "0.95"), (1.0, "1.00"), (12.34, "12.3"), (1234.5, "1234"),
                             (-0.5, "-0.50")):
            self.assertEqual(text.number(value), shown)

    def test_a_part_must_use_what_it_is_given(self):
        with self.assertRaises(KeyError):
            text.part("method", unknown=1)
        with self.assertRaises(KeyError):
            text.part("demo")

    def test_logarithmic_axis_has_whole_decades(self):
        axis = svg.Log(30, 5000, 0, 300)
        self.assertEqual(axis.decades(), [10, 100, 1000, 10000])
        self.assertEqual((axis(10), axis(100), axis(10000)), (0, 100, 300))

    def test_spans_are_cut_to_the_window(self):
        samples = [(0.0, 0, "task"), (1.0, 0, "baseline"), (2.0, 0, "critical")]
        self.assertEqual(list(charts.spans(samples, 0.5, 2.5)),
                         [(0.5, 1.0, "task"), (1.0, 2.0, "baseline"), (2.0, 2.5, "critical")])

    def test_markup_is_escaped(self):
        self.assertIn("a &lt; b", svg.Canvas("a < b").text())


if __name__ == "__main__":
    main(__name__)
