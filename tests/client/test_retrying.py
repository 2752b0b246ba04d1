"""Which requests are sent again, and when: the rule by itself."""

import pytest

from jobsite_client.plans import Answer, Call, Unanswered
from jobsite_client.retrying import Backoff, pause_before_next

READ = Call(method="GET", path="/jobs")
ONCE = Call(method="POST", path="/jobs/a/retry", repeatable=False)
BACKOFF = Backoff(tries=4, first=1.0, longest=8.0)


def answer(status, **headers):
    return Answer(status=status, headers=headers, content=b"", seconds=0.1)


def pause(call, reply, tries=1, chance=1.0):
    return pause_before_next(call, reply, tries=tries, backoff=BACKOFF, chance=chance)


LOST, REFUSED = Unanswered(problem="reset", sent=True), Unanswered(problem="refused", sent=False)


def test_pauses_double_and_end_after_the_last_try():
    assert [pause(READ, LOST, tries) for tries in (1, 2, 3, 4)] == [1.0, 2.0, 4.0, None]


def test_at_most_half_of_a_pause_is_left_to_chance():
    assert pause(READ, LOST, 2, chance=0.0) == 1.0


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_may_pass_is_tried_again(status):
    assert pause(READ, answer(status)) == 1.0


@pytest.mark.parametrize("status", [200, 202, 304, 400, 401, 404, 409, 422, 500])
def test_what_is_decided_is_not_tried_again(status):
    assert pause(READ, answer(status)) is None


def test_retry_after_is_honoured_within_bounds():
    assert pause(READ, answer(503, **{"retry-after": "5"})) == 5.0
    assert pause(READ, answer(429, **{"retry-after": "3600"})) == 8.0
    assert pause(READ, answer(503, **{"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"})) == 1.0


def test_what_must_not_happen_twice_is_sent_again_only_if_it_cannot_have_happened():
    assert pause(ONCE, LOST) is None
    assert pause(ONCE, answer(503)) is None
    assert pause(ONCE, REFUSED) == 1.0
    assert pause(ONCE, answer(429)) == 1.0
