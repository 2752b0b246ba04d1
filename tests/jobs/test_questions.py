"""A tool that asks gives its slot back, waits for the answers, and begins anew with them."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel

from jobs import execution, lifecycle, why
from jobs.bundle import Bundle
from jobs.errors import IllegalMove, InvalidRequest, NotFound
from jobs.lifecycle import Running, Usage
from jobs.models import AskedQuestion, Attempt, Event, Job
from jobs.questions import Question
from tests.factories import SURE, admitted, running, submitted

pytestmark = pytest.mark.django_db

YES: dict[str, Any] = {"action": "accept", "content": {"confirm": True}}
ANNA: dict[str, Any] = {"action": "accept", "content": {"name": "Anna"}}


def run_once(attempt: Running) -> None:
    bundle = Bundle([attempt], lifecycle.Child(worker="tests:1", pid=1, lease=30))
    execution.run_all(bundle)
    bundle.close(None)


def ask(attempt: Running) -> dict[str, Job]:
    return lifecycle.write([lifecycle.asking(attempt, {"sure": SURE}, Usage(), actor="t")])


def worked_on(job: Job) -> Job:
    """As a worker does: one attempt."""
    run_once(running(job))
    return Job.objects.get(pk=job.pk)


def waiting() -> Job:
    return worked_on(submitted("test.asks"))


def test_a_question_frees_the_slot_and_spends_no_retry() -> None:
    job = waiting()
    assert (job.status, job.gate, job.retry_count, job.current_attempt_id) == ("pending", "input", 0, None)
    assert Attempt.objects.get(job=job).state == "interrupted"
    assert list(AskedQuestion.objects.filter(job=job).order_by("id").values_list("key", "message")) == [
        ("sure", "Really?"),
        ("who", "Who are you?"),
    ]
    assert list(Event.objects.filter(job=job).order_by("id").values_list("verb", "before", "after"))[-1] == (
        "ask",
        "running",
        "pending",
    )


def test_why_it_waits_names_what_it_asks_for() -> None:
    found = why.why_pending(waiting())
    assert found is not None
    assert (found.reason, found.text) == ("input", "It asks for sure, who, and waits for the answer.")


def test_it_waits_until_every_question_is_answered_then_begins_anew_with_the_answers() -> None:
    job = waiting()
    assert lifecycle.answer(job.pk, {"sure": YES}, by="agent").gate == "input"
    assert lifecycle.answer(job.pk, {"who": ANNA, "unknown": YES}, by="agent").gate == "open"
    done = worked_on(job)
    assert done.status == "completed"
    assert done.result["structuredContent"] == {"sure": {"confirm": True}, "who": {"name": "Anna"}}
    assert list(Event.objects.filter(job=job, verb="answer").order_by("id").values_list("reason", "actor")) == [
        ("sure", "agent"),
        ("who", "agent"),
    ]


def test_who_does_not_want_to_say_is_heard_too() -> None:
    job = waiting()
    lifecycle.answer(job.pk, {"sure": {"action": "decline"}, "who": {"action": "cancel"}}, by="agent")
    assert worked_on(job).result["structuredContent"] == {"sure": None, "who": None}


@pytest.mark.parametrize(
    "reply", [12345, None, {"action": "perhaps"}, {"action": "accept", "content": {"confirm": "maybe"}}, {"action": "accept"}]
)
def test_an_answer_that_does_not_fit_is_refused_and_none_of_its_fellows_counts(reply: Any) -> None:
    job = waiting()
    with pytest.raises(InvalidRequest, match="sure"):
        lifecycle.answer(job.pk, {"who": ANNA, "sure": reply}, by="agent")
    assert not AskedQuestion.objects.filter(job=job).exclude(answered_at=None).exists()
    assert Job.objects.get(pk=job.pk).gate == "input"


def test_a_second_answer_changes_nothing() -> None:
    job = waiting()
    lifecycle.answer(job.pk, {"who": ANNA}, by="agent")
    lifecycle.answer(job.pk, {"who": {"action": "decline"}}, by="another")
    assert AskedQuestion.objects.get(job=job, key="who").answer == ANNA


def test_nobody_answers_a_job_that_is_not_there_or_has_ended() -> None:
    with pytest.raises(NotFound):
        lifecycle.answer("nothing", {}, by="agent")
    job = waiting()
    lifecycle.cancel(job.pk, by="agent")
    assert lifecycle.answer(job.pk, {"who": ANNA}, by="agent").status == "cancelled"
    assert not AskedQuestion.objects.filter(job=job).exclude(answered_at=None).exists()


def test_answers_that_came_with_the_request_are_never_asked_for() -> None:
    job = lifecycle.submit(lifecycle.Submission(tool="test.asks", answers={"sure": YES, "who": ANNA}), by="agent")
    assert worked_on(job).status == "completed"


def test_a_pause_and_a_retry_find_the_question_still_open() -> None:
    job = waiting()
    lifecycle.pause(job.pk, by="person")
    assert lifecycle.resume(job.pk, by="person").gate == "input"
    lifecycle.cancel(job.pk, by="person")
    assert lifecycle.retry(job.pk, by="person").gate == "input"
    lifecycle.pause(job.pk, by="person")
    lifecycle.answer(job.pk, {"sure": YES, "who": ANNA}, by="agent")
    assert lifecycle.resume(job.pk, by="person").gate == "open"
    with pytest.raises(IllegalMove):
        lifecycle.resume(job.pk, by="person")


def test_a_cancel_wins_over_a_question() -> None:
    attempt = running(submitted("test.asks"))
    lifecycle.cancel(attempt.job.pk, by="person")
    assert ask(attempt) == {}
    run_once(attempt)
    assert Job.objects.get(pk=attempt.job.pk).status == "cancelled"
    assert not AskedQuestion.objects.exists()


def test_a_superseded_attempt_asks_in_vain() -> None:
    attempt = running(submitted("test.asks"), lease=-1)
    lifecycle.interrupt(attempt, Usage(), actor="t")
    admitted(attempt.job)
    assert ask(attempt) == {}


def test_a_form_has_plain_fields() -> None:
    class Nested(BaseModel):
        inner: dict[str, int]

    class Choice(BaseModel):
        size: Literal["s", "m"] = "m"

    with pytest.raises(ValueError, match="plain"):
        Question("?", Nested)
    assert Question("?", Choice).schema["properties"]["size"]["enum"] == ["s", "m"]
