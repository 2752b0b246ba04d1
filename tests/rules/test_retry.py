from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import RETRIED, Category
from jobs.limits import Limits
from jobs.retry import MAX_LOSSES, Again, GiveUp, Quarantine, Retry, RetryWish, decide, decide_lost

policies = st.builds(
    Retry,
    max=st.integers(0, 50),
    first=st.floats(0, 1e4),
    factor=st.floats(1, 10),
    cap=st.floats(0, 1e5),
)
wishes = st.builds(
    RetryWish,
    max=st.none() | st.integers(0, 50),
    first=st.none() | st.floats(0, 1e4),
    factor=st.none() | st.floats(1, 10),
    cap=st.none() | st.floats(0, 1e5),
)


@given(policies, st.sampled_from(list(Category)), st.integers(0, 10_000), st.floats(0, 1))
def test_a_delay_is_never_negative_nor_above_the_cap(policy, category, retries, jitter):
    match decide(policy, category, retries=retries, jitter=jitter):
        case Again(delay=delay):
            assert 0 <= delay <= policy.cap


@given(policies, st.sampled_from(sorted(RETRIED)), st.integers(0, 100))
def test_it_gives_up_exactly_when_the_retries_are_spent(policy, category, retries):
    decision = decide(policy, category, retries=retries, jitter=1)
    assert isinstance(decision, GiveUp) == (retries >= policy.max)


@given(policies, st.sampled_from(sorted(set(Category) - RETRIED)), st.integers(0, 100))
def test_what_another_try_cannot_mend_is_not_tried_again(policy, category, retries):
    assert isinstance(decide(policy, category, retries=retries, jitter=1), GiveUp)


@given(policies, st.integers(0, 60), st.floats(0, 1), st.floats(0, 1))
def test_delays_without_jitter_never_shrink_and_jitter_only_shortens_them(policy, retries, one, other):
    whole = policy.delay(retries, 1)
    assert policy.delay(retries + 1, 1) >= whole
    low, high = sorted((one, other))
    assert policy.delay(retries, low) <= policy.delay(retries, high) <= whole


@given(policies, st.integers(0, 1000), st.floats(0, 1), st.floats(0, 1e9))
def test_what_an_error_says_about_the_delay_wins_over_the_policy(policy, retries, jitter, wait):
    decision = decide(policy, Category.TRANSIENT, retries=retries, jitter=jitter, retry_after=wait)
    assert decision == Again(delay=wait, spends_retry=True) or retries >= policy.max


@given(st.integers(0, 10), st.floats(0, 1))
def test_a_lost_attempt_spends_no_retry_and_the_third_in_a_row_quarantines_the_job(losses, jitter):
    decision = decide_lost(losses=losses, jitter=jitter)
    if losses + 1 >= MAX_LOSSES:
        assert isinstance(decision, Quarantine)
    else:
        assert not decision.spends_retry
        assert 0 <= decision.delay <= 30
        assert losses or decision.delay == 0  # after the first it goes on at once


@given(policies, wishes)
def test_a_wish_takes_the_place_of_just_its_own_parts(policy, wish):
    made = wish.over(policy)
    for part in ("max", "first", "factor", "cap"):
        wished = getattr(wish, part)
        assert getattr(made, part) == (getattr(policy, part) if wished is None else wished)


def test_an_operation_has_the_policy_of_the_queue_but_for_what_it_says_itself():
    limits = Limits(retry=Retry(max=3, first=1), operation_retries={"codemap": RetryWish(max=0)})
    assert limits.retry_of("codemap") == Retry(max=0, first=1)
    assert limits.retry_of("analysis") == Retry(max=3, first=1)


def test_without_jitter_delays_grow_by_the_factor_up_to_the_cap():
    assert [Retry(cap=5).delay(n, 1) for n in range(5)] == [1, 2, 4, 5, 5]
