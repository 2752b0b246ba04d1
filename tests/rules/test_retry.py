from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import RETRIED, Category, Permanent, Transient, classify
from jobs.retry import MAX_LOSSES, Again, GiveUp, Retry, decide

policies = st.builds(
    Retry,
    max=st.integers(0, 50),
    first=st.floats(0, 1e4),
    factor=st.floats(1, 10),
    cap=st.floats(0, 1e5),
)


@given(policies, st.sampled_from(list(Category)), st.integers(0, 10_000), st.integers(0, 10), st.floats(0, 1))
def test_a_delay_is_never_negative_nor_above_the_cap(policy, category, retries, losses, jitter):
    match decide(policy, category, retries=retries, losses=losses, jitter=jitter):
        case Again(delay=delay):
            assert 0 <= delay <= policy.cap


@given(policies, st.sampled_from(sorted(RETRIED - {Category.LOST})), st.integers(0, 100))
def test_it_gives_up_exactly_when_the_retries_are_spent(policy, category, retries):
    decision = decide(policy, category, retries=retries, losses=0, jitter=1)
    assert isinstance(decision, GiveUp) == (retries >= policy.max)


def test_a_lost_attempt_spends_no_retry_and_the_third_in_a_row_ends_the_job():
    none_left = Retry(max=0)
    for losses in range(MAX_LOSSES - 1):
        assert decide(none_left, Category.LOST, retries=0, losses=losses, jitter=0) == Again(delay=0, spends_retry=False)
    assert isinstance(decide(none_left, Category.LOST, retries=0, losses=MAX_LOSSES - 1, jitter=0), GiveUp)


def test_what_a_tool_says_about_the_delay_wins():
    decision = decide(Retry(), Category.TRANSIENT, retries=0, losses=0, jitter=0.5, retry_after=42)
    assert decision == Again(delay=42, spends_retry=True)


def test_without_jitter_delays_grow_by_the_factor_up_to_the_cap():
    assert [Retry(cap=5).delay(n, 1) for n in range(5)] == [1, 2, 4, 5, 5]


def test_errors_are_classified_by_their_type():
    assert classify(Transient()) is Category.TRANSIENT
    assert classify(Permanent()) is Category.PERMANENT
    assert classify(ConnectionResetError()) is Category.TRANSIENT
    assert classify(TimeoutError()) is Category.TRANSIENT
    assert classify(RuntimeError()) is Category.TRANSIENT
    assert classify(ValueError()) is Category.INVALID_INPUT
    assert classify(KeyError()) is Category.PERMANENT
    assert classify(FileNotFoundError()) is Category.PERMANENT
    assert classify(MemoryError()) is Category.RESOURCE
