"""Following as a conversation, without a network: what the plans say to what they are told."""

import json

import pytest

from jobsite_client import following
from jobsite_client.cli.logs import _overlap
from jobsite_client.errors import Unreachable
from jobsite_client.plans import Answer, Call, Item, Line, NextLine, Pause, Unanswered
from jobsite_client.retrying import Backoff


class Link:
    backoff = Backoff(tries=2, first=0.01)


def status(word, version=1, **more):
    body = {"jobId": "a", "toolName": "t", "status": word, "timestamp": 9, "createdAt": 1, "updatedAt": version} | more
    return Answer(status=200, headers={"content-type": "application/json"}, content=json.dumps(body).encode(), seconds=0.1)


OPENED = Answer(status=200, headers={}, content=b"", seconds=0.1)
ENDED = Answer(status=204, headers={}, content=b"", seconds=0.1)


def event(kind, **data):
    return [Line(f"event: {kind}"), Line(f"data: {json.dumps({'jobId': 'a'} | data)}"), Line("")]


def conversation(stream, *replies):
    """What was asked and what was told, while `replies` are given to calls and for lines, in order."""
    waiting, asked, told = list(replies), [], []
    step = next(stream)
    try:
        while True:
            if isinstance(step, Item):
                told.append(step.value)
                step = stream.send(None)
            elif isinstance(step, Pause):
                asked.append("pause")
                step = stream.send(None)
            else:
                asked.append(step.path.removeprefix("/jobs/") if isinstance(step, Call) else "line")
                assert isinstance(step, NextLine | Call)
                step = stream.send(waiting.pop(0))
    except StopIteration:
        assert not waiting
        return asked, told


def test_a_finished_job_is_looked_at_once():
    asked, told = conversation(following.follow(Link(), "a"), status("completed"))
    assert (asked, [one.status for one in told]) == (["a"], ["completed"])


def test_the_stream_is_open_before_the_look_that_counts():
    """So a job that ends between the first look and the opening is not waited for."""
    asked, told = conversation(following.follow(Link(), "a"), status("running"), ENDED, status("completed", 2))
    assert asked == ["a", "a/stream", "a"]
    assert [one.status for one in told] == ["running", "completed"]


def test_progress_is_told_without_a_further_look_and_moves_that_are_known_cost_none():
    asked, told = conversation(
        following.follow(Link(), "a"),
        status("running", 5),
        OPENED,
        status("running", 5),
        *event("move", verb="start", after="running", at=5),
        *event("progress", progress=40, message="on the way", currentStage="parse", diagnostics=["one"]),
        *event("move", verb="finish", after="completed", at=7),
        status("completed", 7),
    )
    assert asked.count("a") == 3
    assert [(one.status, one.progress) for one in told] == [("running", None), ("running", 40), ("completed", None)]
    assert (told[1].message, told[1].details.current_stage, told[1].details.diagnostics) == ("on the way", "parse", ["one"])


def test_a_stream_that_breaks_is_opened_again_and_what_was_missed_is_looked_up():
    asked, told = conversation(
        following.follow(Link(), "a"),
        status("running"),
        OPENED,
        status("running"),
        Unanswered(problem="reset", sent=True),
        OPENED,
        status("completed", 2),
    )
    assert asked == ["a", "a/stream", "a", "line", "pause", "a/stream", "a"]
    assert [one.status for one in told] == ["running", "completed"]


def test_a_server_that_stays_away_is_said_to_be_so():
    gone = Unanswered(problem="refused", sent=False)
    with pytest.raises(Unreachable):
        conversation(following.follow(Link(), "a"), status("running"), gone, gone)


@pytest.mark.parametrize(
    ("seen", "now", "fresh"),
    [
        ([], ["a"], ["a"]),
        (["a"], ["a"], []),
        (["a"], ["a", "b"], ["b"]),
        (["a", "b", "c"], ["b", "c", "d"], ["d"]),
        (["a", "b"], ["x", "y"], ["x", "y"]),
    ],
)
def test_only_the_newest_lines_are_kept_and_each_is_told_once(seen, now, fresh):
    assert now[_overlap(seen, now) :] == fresh
