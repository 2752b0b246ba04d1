"""How soon a frame follows another."""

import pytest

from dashboard.hub import Pace, gap_after


def test_frames_have_a_gap_that_grows_with_what_is_told_and_to_how_many():
    assert gap_after(1, 1) == gap_after(50, 100) == 0.08
    assert gap_after(1, 1000) == gap_after(51, 1) == gap_after(1, 100_000) == 0.25


def test_after_a_time_of_quiet_some_frames_follow_at_once_and_then_the_pace_holds():
    pace, now, pauses = Pace(), 100.0, []
    for _ in range(40):
        pauses.append(pace.pause(0.08, began=now, now=now))
        now += pauses[-1]
    assert pauses[:3] == [0.005] * 3
    assert pauses[5:] == pytest.approx([0.08] * 35)
    # In the long run no more than the pace allows, and the few ahead.
    assert now - 100 >= 36 * 0.08
    now += 1
    assert pace.pause(0.08, began=now, now=now) == 0.005


def test_under_load_nothing_runs_ahead_and_the_writing_counts():
    pace = Pace()
    assert pace.pause(0.25, began=100.0, now=100.1) == pytest.approx(0.15)
    assert pace.pause(0.25, began=100.25, now=109.0) == 0.04
