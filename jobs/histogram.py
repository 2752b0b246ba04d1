"""Histograms of times that can be added up: eight buckets an octave, so a percentile read from one is at most 4.5 % off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

# A bucket holds the times from 2 ** (b / 8) ms on; everything up to a millisecond is in bucket 0. As SQL writes it:
BUCKET_SQL = "floor(ln(GREATEST({ms}, 1)) * 8 / ln(2))::int"

Histogram = Mapping[str, int]


def merged(histograms: Iterable[Histogram]) -> Counter[int]:
    """All in one: bucket -> how many."""
    # A page merges a thousand of them: the keys are read as numbers once, at the end.
    total: dict[str, int] = {}
    for histogram in histograms:
        for bucket, number in histogram.items():
            total[bucket] = total.get(bucket, 0) + number
    return Counter({int(bucket): number for bucket, number in total.items()})


def percentile(counted: Mapping[int, int], share: float) -> float | None:
    """The time in seconds below which `share` (0..1) of them lie; None where there are none."""
    left = share * sum(counted.values())
    for bucket in sorted(counted):
        left -= counted[bucket]
        if left <= 0 < counted[bucket]:
            return float(2 ** ((bucket + 0.5) / 8) / 1000)
    return None
