# SPDX-License-Identifier: GPL-2.0-or-later
"""Percentiles, and ratios over interleaved rounds: the median of the rounds' ratios and the worst of them; results as
files."""
import json
import statistics


def percentile(values, share):
    """The smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * share // 1))
    return ordered[int(rank) - 1]


def summary(values):
    return {"samples": len(values), "p50_us": round(percentile(values, 0.50), 1),
            "p99_us": round(percentile(values, 0.99), 1), "max_us": round(max(values), 1)}


def ratio(over, under, larger_is_better):
    """Ratios round by round: their median, and the worst in the sense given."""
    rounds = [a / b for a, b in zip(over, under)]
    worst = min(rounds) if larger_is_better else max(rounds)
    return {"median": round(statistics.median(rounds), 4), "worst": round(worst, 4)}


def save(result, path):
    """The result as a JSON file; nothing where no path is given."""
    if path:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=2)
            file.write("\n")
