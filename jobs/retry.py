"""Retry policies, decided purely: what happens after an attempt that did not succeed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jobs.errors import RETRIED, Category

MAX_LOSSES = 3


def backed_off(tries_so_far: int, *, first: float, factor: float = 2.0, cap: float) -> float:
    """Seconds before the next try, before any jitter: `first * factor ** tries_so_far`, at most `cap`."""
    # The exponent is bounded because factor ** 5000 overflows a float long after the cap was reached.
    return min(cap, first * factor ** min(tries_so_far, 64))


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
        return backed_off(retries_so_far, first=self.first, factor=self.factor, cap=self.cap) * jitter


@dataclass(frozen=True, kw_only=True)
class RetryWish:
    """A part of a policy; None is left to what holds otherwise. Delays are seconds."""

    max: int | None = None
    first: float | None = None
    factor: float | None = None
    cap: float | None = None

    def over(self, policy: Retry) -> Retry:
        """The policy with what is wished for in its place."""
        wished = {name: value for name, value in vars(self).items() if value is not None}
        return replace(policy, **wished)


# A vanished process says nothing about the job, so the job's own policy does not time it.
AFTER_LOSS = Retry(max=MAX_LOSSES, first=1.0, factor=2.0, cap=30.0)


@dataclass(frozen=True, kw_only=True)
class Again:
    """Try again after `delay` seconds."""

    delay: float
    spends_retry: bool


@dataclass(frozen=True, kw_only=True)
class GiveUp:
    """The job has failed for good."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class ContinueAs:
    """The tool has given the job up for `reason`; it goes on as another one, with its time-out and retries if it names any."""

    tool: str
    reason: str
    queue: str
    timeout_ms: int | None = None
    retry: Retry | None = None


@dataclass(frozen=True, kw_only=True)
class Quarantine:
    """The job is held until a person releases it: it may be what kills its processes."""

    reason: str


def decide(policy: Retry, category: Category, *, retries: int, jitter: float, retry_after: float | None = None) -> Again | GiveUp:
    """What follows a failed attempt; `retries` counts what was spent before. `retry_after` (seconds) wins over the back-off."""
    if category not in RETRIED:
        return GiveUp(reason=f"{category.value.replace('_', ' ')} failure: trying again would not help")
    if retries >= policy.max:
        return GiveUp(reason="no retries are allowed" if policy.max == 0 else f"all {policy.max} retries are spent")
    delay = policy.delay(retries, jitter) if retry_after is None else max(0.0, retry_after)
    return Again(delay=delay, spends_retry=True)


def decide_lost(*, losses: int, jitter: float) -> Again | Quarantine:
    """What follows an attempt whose process vanished; `losses` counts those in a row before it. No retry is spent on it."""
    if losses + 1 >= MAX_LOSSES:
        return Quarantine(reason=f"lost {MAX_LOSSES} times in a row: its process ended without a word each time")
    # The first loss is the machine's fault more often than the job's, which has waited for the end of its lease already.
    return Again(delay=AFTER_LOSS.delay(losses, jitter) if losses else 0.0, spends_retry=False)
