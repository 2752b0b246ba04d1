"""Advice about capacity: only where measured rates carry it."""

from dataclasses import replace

import pytest

from jobs.capacity import Advice, Rates, advise

# Ten slots, each ending a job in ten seconds: one a second; half of that comes in.
BUSY = Rates(ready=1000, arrived=450, ended=900, seconds=900, busy=10, slots=10, processes=20, workers=2)


def test_a_shrinking_backlog_is_given_its_time_and_what_more_slots_would_make_of_it():
    advice = advise(BUSY)
    assert advice.seconds == pytest.approx(2000)
    assert (advice.what, advice.more) == ("slot", 2)
    assert advice.then == pytest.approx(1000 / 0.7)


def test_where_processes_are_what_is_short_workers_are_advised_by_their_size():
    advice = advise(replace(BUSY, slots=40, processes=10, workers=2))
    assert (advice.what, advice.more) == ("worker", 1)
    assert advice.then == pytest.approx(1000)


def test_a_backlog_that_grows_has_no_time_and_more_slots_may_still_turn_it():
    advice = advise(replace(BUSY, arrived=1000))
    assert advice.seconds is None
    assert advice.what == "slot"
    assert advice.then is not None


@pytest.mark.parametrize("change", [{"ready": 0}, {"ended": 29}, {"busy": 0.0}, {"seconds": 0.0}])
def test_with_nothing_waiting_or_too_little_measured_nothing_is_said(change):
    assert advise(replace(BUSY, **change)) is None


def test_where_slots_stand_empty_while_jobs_wait_more_slots_are_not_advised():
    assert advise(replace(BUSY, busy=5, ended=900)) == Advice(seconds=pytest.approx(2000))


def test_no_more_is_advised_than_there_are_processes_for():
    assert advise(replace(BUSY, processes=10)).more == 0
