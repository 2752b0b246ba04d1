"""The polling contract, as a pure function."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import polling
from jobs.polling import FIRST_MS, LONGEST_MS
from jobs.states import ACTIVE, FINAL, Status

active = st.sampled_from(sorted(ACTIVE))
final = st.sampled_from(sorted(FINAL))
any_status = st.sampled_from(Status.values)
looks = st.integers(0, 10_000)
since = st.none() | st.floats(-1e6, 1e9)
remaining = st.none() | st.integers(0, 10**9)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (Status.PENDING, [5_000, 10_000, 20_000, 30_000, 30_000]),
        (Status.RUNNING, [2_000, 4_000, 8_000, 16_000, 30_000]),
    ],
)
def test_the_interval_doubles_with_every_look_up_to_30_seconds(status: Status, expected: list[int]) -> None:
    assert [polling.interval_ms(status, look) for look in range(1, 6)] == expected


@given(active, looks, remaining)
def test_every_interval_lies_between_the_first_of_its_status_and_the_longest(status: Status, count: int, left: int | None) -> None:
    interval = polling.interval_ms(status, count, left)
    assert interval is not None
    assert FIRST_MS[status] <= interval <= LONGEST_MS


@given(active, looks)
def test_without_a_prediction_the_interval_never_shrinks_with_the_number_of_looks(status: Status, count: int) -> None:
    assert (polling.interval_ms(status, count) or 0) <= (polling.interval_ms(status, count + 1) or 0)


@given(active, looks, st.integers(2_000, 30_000))
def test_a_predicted_end_is_what_is_waited_for(status: Status, count: int, left: int) -> None:
    assert polling.interval_ms(status, count, left) == max(left, FIRST_MS[status])


@given(final, looks, since, remaining)
def test_a_finished_job_answers_at_once_and_recommends_nothing(
    status: Status, count: int, passed: float | None, left: int | None
) -> None:
    assert polling.look(status, looks=count, since_last_ms=passed, remaining=left) == polling.Look(counts=False, wait_ms=None)


@given(active, since, remaining)
def test_a_job_never_looked_at_is_looked_at_at_once(status: Status, passed: float | None, left: int | None) -> None:
    # Looks are counted anew after every change of state, while the time of the last one stays.
    seen = polling.look(status, looks=0, since_last_ms=passed, remaining=left)
    assert seen == polling.Look(counts=True, wait_ms=polling.interval_ms(status, 1, left))


@given(active, st.integers(1, 10_000), st.floats(0, 1e6), remaining)
def test_a_look_that_comes_too_early_waits_for_what_is_left_and_does_not_count(
    status: Status, count: int, passed: float, left: int | None
) -> None:
    due = polling.interval_ms(status, count, left)
    assert due is not None
    seen = polling.look(status, looks=count, since_last_ms=passed, remaining=left)
    if round(passed) < due:
        assert seen == polling.Look(counts=False, wait_ms=due - round(passed))
    else:
        assert seen == polling.Look(counts=True, wait_ms=polling.interval_ms(status, count + 1, left))


@given(any_status, looks, since, remaining)
def test_nobody_is_ever_told_to_wait_longer_than_30_seconds(
    status: str, count: int, passed: float | None, left: int | None
) -> None:
    wait = polling.look(status, looks=count, since_last_ms=passed, remaining=left).wait_ms
    assert wait is None or 0 < wait <= LONGEST_MS


def test_a_poller_that_keeps_to_the_intervals_has_every_look_counted() -> None:
    count, waited = 0, None
    waits = []
    for _ in range(6):
        seen = polling.look(Status.RUNNING, looks=count, since_last_ms=waited)
        assert seen.counts
        assert seen.wait_ms is not None
        count, waited = count + 1, float(seen.wait_ms)
        waits.append(seen.wait_ms)
    assert waits == [2_000, 4_000, 8_000, 16_000, 30_000, 30_000]


@pytest.mark.parametrize(
    ("progress", "elapsed", "estimate", "expected"),
    [
        (50, 10_000, None, 10_000),
        (25, 10_000, 1, 30_000),
        (100, 10_000, None, 0),
        (4.9, 10_000, None, None),
        (0, 10_000, 60_000, 50_000),
        (0, 10_000, 10_000, None),
        (0, -5, 1_000, 1_000),
    ],
)
def test_the_remaining_time_follows_progress_and_else_the_estimate(
    progress: float, elapsed: float, estimate: float | None, expected: int | None
) -> None:
    assert polling.remaining_ms(progress=progress, elapsed_ms=elapsed, estimated_ms=estimate) == expected
