#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Percentiles, pooling, distributions and ratios over rounds."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))

from lab.evaluation import stats  # noqa: E402
from lab.evaluation.cases import main  # noqa: E402
from lab.evaluation.stats import Histogram  # noqa: E402
from testbed import figures  # noqa: E402


def spread(count=1000):
    return Histogram({float(us): 1 for us in range(1, count + 1)}, float(count), (count + 1) / 2)


class Percentiles(unittest.TestCase):
    def test_each_is_the_smallest_value_that_the_share_does_not_exceed(self):
        for count in (1, 2, 7, 100, 999, 1000):
            h = spread(count)
            for share in stats.PERCENTILES.values():
                expected = figures.percentile(list(range(1, count + 1)), share)
                self.assertEqual(h.percentile(share), (expected, expected), (count, share))

    def test_counts_weigh(self):
        h = Histogram({10.0: 98, 500.0: 2}, 500.0, 19.8)
        self.assertEqual(h.percentile(0.98), (10.0, 10.0))
        self.assertEqual(h.percentile(0.99), (500.0, 500.0))

    def test_above_the_limit_only_bounds_are_known(self):
        h = Histogram({10.0: 98}, 7000.0, 90.0, over=2, limit=100.0)
        out = h.summary()
        self.assertEqual((out["count"], out["p95_us"], out["p99_us"], out["max_us"]), (100, 10.0, 100.0, 7000.0))
        self.assertEqual(out["beyond"], {"p99_us": [100.0, 7000.0], "p999_us": [100.0, 7000.0]})
        self.assertEqual(stats.value(out, "p99_us"), 100.0)
        self.assertEqual(stats.value(out, "p99_us", high=True), 7000.0)
        self.assertEqual(stats.value(out, "p95_us", high=True), 10.0)

    def test_nothing_is_beyond_without_overflow(self):
        self.assertNotIn("beyond", spread().summary())

    def test_no_samples_is_an_error(self):
        with self.assertRaises(ValueError):
            Histogram({}, 0, 0).summary()


class Pooling(unittest.TestCase):
    def test_adds_samples_and_weighs_the_average(self):
        out = stats.pooled([Histogram({1.0: 3}, 1, 1.0, limit=10), Histogram({1.0: 1, 2.0: 1}, 50, 18.0, 1, limit=10)])
        self.assertEqual((out.buckets, out.over, out.count, out.max_us), ({1.0: 4, 2.0: 1}, 1, 6, 50))
        self.assertAlmostEqual(out.avg_us, (3 * 1 + 3 * 18) / 6)

    def test_limits_must_agree(self):
        with self.assertRaises(ValueError):
            stats.pooled([Histogram({}, 0, 0, limit=1), Histogram({}, 0, 0, limit=2)])


class Distribution(unittest.TestCase):
    def test_falls_from_one_and_ends_at_the_maximum(self):
        points = spread().ccdf()
        self.assertEqual(points[0], [1.0, 1.0])
        self.assertEqual(points[-1], [1000.0, 0.001])
        self.assertLess(len(points), 200)
        for before, after in zip(points, points[1:]):
            self.assertLess(before[0], after[0])
            self.assertGreater(before[1], after[1])

    def test_ends_at_the_limit_where_samples_lie_above_it(self):
        points = Histogram({10.0: 90}, 7000.0, 90.0, over=10, limit=100.0).ccdf()
        self.assertEqual(points, [[10.0, 1.0], [100.0, 0.1]])

    def test_zero_is_a_latency(self):
        self.assertEqual(Histogram({0.0: 1, 1.0: 1}, 1, .5).ccdf(), [[0.0, 1.0], [1.0, 0.5]])


class Rounds(unittest.TestCase):
    def test_removed_share(self):
        self.assertAlmostEqual(stats.removed(10, 110, 15), 0.95)
        self.assertLess(stats.removed(10, 110, 200), 0)
        self.assertIsNone(stats.removed(10, 10, 5))

    def test_median_and_worst(self):
        self.assertEqual(stats.over_rounds([0.9, 0.5, 1.0], True), {"median": 0.9, "worst": 0.5})
        self.assertEqual(stats.over_rounds([0.9, 0.5, 1.0], False), {"median": 0.9, "worst": 1.0})
        self.assertIsNone(stats.over_rounds([0.9, None], True))
        self.assertIsNone(stats.over_rounds([], True))

    def test_ratio_round_by_round(self):
        self.assertEqual(stats.ratio([2, 9, 4], [1, 3, 4], True), {"median": 2.0, "worst": 1.0})
        self.assertIsNone(stats.ratio([1, 2], [1], True))
        self.assertIsNone(stats.ratio([1], [0], True))
        self.assertIsNone(stats.ratio([], [], True))

    def test_geometric_mean(self):
        self.assertAlmostEqual(stats.geometric_mean([0.5, 2.0]), 1.0)
        self.assertEqual(stats.geometric_mean([0.0, 2.0]), 0.0)
        self.assertIsNone(stats.geometric_mean([]))


if __name__ == "__main__":
    main(__name__)
