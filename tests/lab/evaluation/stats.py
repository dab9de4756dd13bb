# SPDX-License-Identifier: GPL-2.0-or-later
"""Latency histograms and their percentiles; what a round gained; ratios over interleaved rounds."""
import dataclasses
import math
import statistics

from testbed import figures

PERCENTILES = {"p50_us": 0.50, "p95_us": 0.95, "p99_us": 0.99, "p999_us": 0.999}
POINTS_PER_DECADE = 40


@dataclasses.dataclass
class Histogram:
    """Latencies in microseconds. Of the `over` samples above `limit` only that is known, and their maximum."""
    buckets: dict[float, int]
    max_us: float
    avg_us: float
    over: int = 0
    limit: float = math.inf

    @property
    def count(self) -> int:
        return sum(self.buckets.values()) + self.over

    def percentile(self, share: float) -> tuple[float, float]:
        """The smallest value that at least `share` of the samples do not exceed, as (at least, at most): the two
        differ when it lies above the histogram's limit."""
        rank = max(1, math.ceil(self.count * share - 1e-9))
        for value in sorted(self.buckets):
            rank -= self.buckets[value]
            if rank <= 0:
                return value, value
        return self.limit, self.max_us

    def summary(self) -> dict:
        """The figures of one round. A percentile above the limit is given as the limit, and in "beyond" with its
        bounds."""
        if not self.count:
            raise ValueError("a histogram without samples")
        bounds = {name: self.percentile(share) for name, share in PERCENTILES.items()}
        out = {"count": self.count, "avg_us": round(self.avg_us, 2), "max_us": round(self.max_us, 2)}
        out |= {name: round(low, 2) for name, (low, _) in bounds.items()}
        beyond = {name: [low, high] for name, (low, high) in bounds.items() if low != high}
        return out | ({"beyond": beyond} if beyond else {})

    def data(self) -> dict:
        """As JSON; from_data() makes the same again."""
        return {"buckets": sorted(self.buckets.items()), "max_us": self.max_us, "avg_us": self.avg_us,
                "over": self.over, "limit": None if self.limit == math.inf else self.limit}

    @classmethod
    def from_data(cls, data: dict) -> "Histogram":
        """Of data()."""
        limit = math.inf if data["limit"] is None else data["limit"]
        return cls({value: count for value, count in data["buckets"]}, data["max_us"], data["avg_us"], data["over"],
                   limit)

    def ccdf(self) -> list[list[float]]:
        """[value, share of the samples that are at least that], thinned evenly on a logarithmic axis. It ends at the
        limit where samples lie above it."""
        total, left, points = self.count, self.count, {}
        for value in sorted(self.buckets):
            step = math.inf if left == self.buckets[value] else round(math.log10(max(value, 0.1)) * POINTS_PER_DECADE)
            points.setdefault(step, [value, float(f"{left / total:.4g}")])  # the last one always
            left -= self.buckets[value]
        if self.over:
            points[math.inf] = [self.limit, float(f"{self.over / total:.4g}")]
        return list(points.values())


def pooled(histograms: list[Histogram]) -> Histogram:
    """The samples of all of them; they must have one limit."""
    buckets: dict[float, int] = {}
    for one in histograms:
        if one.limit != histograms[0].limit:
            raise ValueError("histograms of different limits")
        for value, count in one.buckets.items():
            buckets[value] = buckets.get(value, 0) + count
    total = sum(h.count for h in histograms)
    avg = sum(h.avg_us * h.count for h in histograms) / total if total else 0.0
    return Histogram(buckets, max(h.max_us for h in histograms), avg, sum(h.over for h in histograms),
                     histograms[0].limit)


def value(summary: dict, name: str, high: bool = False) -> float:
    """A figure of a round; of one that is known by its bounds only the lower one, or with `high` the upper one."""
    return summary.get("beyond", {}).get(name, [summary[name]] * 2)[1 if high else 0]


def removed(idle: float, vanilla: float, dynamic: float) -> float | None:
    """Which share of the latency that load adds is gone. None where load added nothing."""
    return (vanilla - dynamic) / (vanilla - idle) if vanilla > idle else None


def log2_percentile(buckets: list[int], share: float) -> float | None:
    """Microseconds of a share of a log2 histogram of nanoseconds, interpolated within its bucket."""
    wanted, seen = share * sum(buckets), 0
    for i, here in enumerate(buckets):
        if here and seen + here >= wanted:
            return round(2 ** i * (1 + (wanted - seen) / here) / 1000, 3)
        seen += here
    return None


def over_rounds(values: list[float | None], larger_is_better: bool) -> dict | None:
    """Median and worst of the rounds. None unless every round has a value."""
    if not values or None in values:
        return None
    worst = min(values) if larger_is_better else max(values)
    return {"median": round(statistics.median(values), 4), "worst": round(worst, 4)}


def ratio(over: list[float], under: list[float], larger_is_better: bool) -> dict | None:
    """Round by round over / under; None without a round or with a zero below."""
    if not over or len(over) != len(under) or not all(under):
        return None
    return figures.ratio(over, under, larger_is_better)


def geometric_mean(values: list[float]) -> float | None:
    """None without values; 0 as soon as one is 0."""
    if not values:
        return None
    return math.exp(sum(map(math.log, values)) / len(values)) if all(v > 0 for v in values) else 0.0
