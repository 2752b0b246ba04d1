"""What a job asks over the API, and the answers."""

from __future__ import annotations

import pytest

from jobs import tokens
from jobs.models import Event, Job
from tests.api.steps import Caller, problem, submitted
from tests.jobs.test_questions import waiting

pytestmark = pytest.mark.django_db

ANSWERS = {
    "sure": {"action": "accept", "content": {"confirm": True}},
    "who": {"action": "accept", "content": {"name": "Anna"}},
}


def test_questions_are_shown_and_answered() -> None:
    caller, job = Caller(), waiting()
    asked = caller.get(f"/jobs/{job.pk}/questions").json()["questions"]
    assert [(question["key"], question["message"]) for question in asked] == [("sure", "Really?"), ("who", "Who are you?")]
    assert asked[0]["requestedSchema"]["properties"]["confirm"]["type"] == "boolean"
    assert caller.post(f"/jobs/{job.pk}/answers", {"answers": ANSWERS}).status_code == 202
    assert Job.objects.get(pk=job.pk).gate == "open"
    assert caller.get(f"/jobs/{job.pk}/questions").json() == {"questions": []}
    assert Event.objects.get(job=job, verb="answer").actor == "token:robot"


def test_an_answer_that_does_not_fit_is_a_problem_with_a_pointer() -> None:
    caller, job = Caller(), waiting()
    refused = problem(
        caller.post(f"/jobs/{job.pk}/answers", {"answers": {"sure": {"action": "accept", "content": {"confirm": 3}}}})
    )
    assert refused["status"] == 422
    assert refused["errors"][0]["pointer"] == "/sure/content/confirm"
    assert problem(caller.post(f"/jobs/{job.pk}/answers", {"answers": {"sure": {"action": "maybe"}}}))["status"] == 422


def test_only_who_may_submit_and_sees_the_job_may_answer() -> None:
    job = waiting()
    reader = Caller([tokens.READ], name="reader")
    assert problem(reader.post(f"/jobs/{job.pk}/answers", {"answers": ANSWERS}))["status"] == 403
    assert problem(Caller().post("/jobs/nothing/answers", {"answers": ANSWERS}))["status"] == 404
    assert reader.get(f"/jobs/{submitted().pk}/questions").json() == {"questions": []}
