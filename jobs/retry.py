"""Retry policies, decided purely: what happens after an attempt that did not succeed."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.errors import RETRIED, Category

MAX_LOSSES = 3


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often and how patiently to try again.

    `max` counts tries after the first. Delays are seconds: `first * factor ** n`, at most `cap`, then spread by full jitter.
    """

    max: int = 3
    first: float = 1.0
    factor: float = 2.0
    cap: float = 300.0

    def delay(self, retries_so_far: int, jitter: float) -> float:
        """Seconds to wait before the next try; `jitter` in 0..1 picks the point in the full-jitter window.

        Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 (full jitter).
        """
        # The exponent is bounded because factor ** 5000 overflows a float long after the cap was reached.
        return min(self.cap, self.first * self.factor ** min(retries_so_far, 64)) * jitter


@dataclass(frozen=True, kw_only=True)
class Again:
    """Try again after `delay` seconds."""

    delay: float
    spends_retry: bool


@dataclass(frozen=True, kw_only=True)
class GiveUp:
    """The job has failed for good."""

    reason: str


def decide(
    policy: Retry, category: Category, *, retries: int, losses: int, jitter: float, retry_after: float | None = None
) -> Again | GiveUp:
    """What follows a failed attempt. `retries` and `losses` count what was spent before this failure."""
    if category is Category.LOST:
        if losses + 1 >= MAX_LOSSES:
            return GiveUp(reason=f"lost {MAX_LOSSES} times in a row: its process ended without a word each time")
        return Again(delay=policy.delay(losses, jitter), spends_retry=False)
    if category not in RETRIED:
        return GiveUp(reason=f"{category.value.replace('_', ' ')} failure: trying again would not help")
    if retries >= policy.max:
        return GiveUp(reason="no retries are allowed" if policy.max == 0 else f"all {policy.max} retries are spent")
    delay = policy.delay(retries, jitter) if retry_after is None else max(0.0, retry_after)
    return Again(delay=delay, spends_retry=True)
