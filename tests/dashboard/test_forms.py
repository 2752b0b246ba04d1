"""Forms drawn from a schema: what a tool takes, and what a job asks."""

import re
from typing import Literal

import pytest
from django.http import QueryDict
from pydantic import BaseModel, Field, SecretStr

from dashboard.schema_form import SchemaForm, can_draw
from jobs import lifecycle, queries, timeline
from jobs.models import AskedQuestion, AuditEntry, Job
from jobs.states import Gate
from jobs.tools import tool
from tests.dashboard.test_pages import viewer
from tests.factories import SURE, WHO, running, submitted

pytestmark = pytest.mark.django_db


class Place(BaseModel):
    city: str = "Oslo"


class Everything(BaseModel):
    quarter: Literal["Q1", "Q2"] = Field(description="Which <quarter>")
    year: int = Field(default=2026, ge=2000, le=2100)
    factor: float | None = None
    draft: bool = True
    names: list[str] = []
    place: Place = Place()
    note: str = ""
    secret: SecretStr = SecretStr("")


@tool("test.everything", params=Everything)
def everything(params: Everything) -> str:
    """Take one of each."""
    return params.quarter


def test_each_kind_of_param_has_its_field_and_keeps_its_type(client):
    page = client.get("/submit/?tool=test.everything").content.decode()
    assert '<select name="p-quarter"' in page
    assert 'name="p-draft" class="form-check-input"' in page
    assert 'type="password" name="p-secret"' in page
    assert "Which &lt;quarter&gt;" in page
    said = {
        "p-quarter": '"Q2"',
        "p-year": "2027",
        "p-factor": "0.5",
        "p-names": '["a"]',
        "p-place": '{"city": "Rom"}',
        "p-note": "  x",
    }
    client.post("/submit/", {"tool": "test.everything", "priority": "low", **said})
    assert Job.objects.get().params == {
        "quarter": "Q2", "year": 2027, "factor": 0.5, "draft": False, "names": ["a"], "place": {"city": "Rom"}, "note": "  x",
    }  # fmt: skip


def test_an_optional_field_that_is_left_empty_is_not_said(client):
    client.post("/submit/", {"tool": "test.everything", "priority": "low", "p-quarter": '"Q1"', "p-draft": "on"})
    assert Job.objects.get().params == {"quarter": "Q1", "draft": True}


@pytest.mark.parametrize(
    ("said", "field", "words"),
    [
        ({"p-quarter": ""}, "quarter", "required"),
        ({"p-year": "1066"}, "year", "greater than or equal to 2000"),
        ({"p-factor": "much"}, "factor", "Enter a number"),
        ({"p-names": "[1"}, "names", "not JSON"),
        # What only the tool's own check finds is told at the field all the same.
        ({"p-names": "[1]"}, "names", "valid string"),
    ],
)
def test_what_does_not_fit_is_told_at_its_field_and_nothing_is_submitted(client, said, field, words):
    answer = client.post("/submit/", {"tool": "test.everything", "priority": "low", "p-quarter": '"Q1"'} | said)
    assert answer.status_code == 422
    told = re.search(rf'id="id_p-{field}_error">([^<]*)', answer.content.decode())
    assert told is not None
    assert words in told[1]
    assert not Job.objects.exists()


def test_what_no_form_can_hold_is_json(client):
    assert not can_draw({"type": "object", "additionalProperties": True}, {})
    assert not can_draw(Everything.model_json_schema(), {"unheard": 1})
    assert 'name="params"' in client.get("/submit/?tool=test.everything&as=json").content.decode()
    odd = submitted("test.add", params={"a": 1})
    Job.objects.filter(pk=odd.pk).update(params={"gone": 1})
    assert 'name="params"' in client.get(f"/submit/?from={odd.pk}").content.decode()


def test_a_clone_begins_with_what_the_job_was_given(client):
    job = submitted("test.everything", params={"quarter": "Q2", "year": 2030, "secret": "hunter2"})
    page = client.get(f"/submit/?from={job.pk}").content.decode()
    assert re.search(r'value="&quot;Q2&quot;" selected', page)
    assert 'value="2030"' in page
    assert "hunter2" not in page


def asking() -> Job:
    begun = running(submitted("test.asks"))
    (job,) = lifecycle.write([lifecycle.asking(begun, {"sure": SURE, "who": WHO}, lifecycle.Usage(), actor="t")]).values()
    return job


def test_what_a_job_asks_is_answered_on_its_page(client):
    job = asking()
    page = client.get(f"/jobs/{job.pk}/").content.decode()
    assert "Really?" in page
    assert "Who are you?" in page
    sure, who = AskedQuestion.objects.filter(job=job).order_by("id")
    wrong = client.post(f"/jobs/{job.pk}/answer/", {"key": "who"})
    assert wrong.status_code == 422
    assert f'id="id_{who.pk}-name_error"' in wrong.content.decode()
    client.post(f"/jobs/{job.pk}/answer/", {"key": "who", f"{who.pk}-name": "Anna"})
    client.post(f"/jobs/{job.pk}/answer/", {"key": "sure", "decline": "1"})
    sure.refresh_from_db()
    who.refresh_from_db()
    assert who.answer == {"action": "accept", "content": {"name": "Anna"}}
    assert sure.answer["action"] == "decline"
    assert Job.objects.get(pk=job.pk).gate == Gate.OPEN
    assert list(AuditEntry.objects.order_by("id").values_list("action", "actor")) == [("answer", "ada"), ("answer", "ada")]
    again = client.post(f"/jobs/{job.pk}/answer/", {"key": "who", f"{who.pk}-name": "Eve"}, follow=True).content.decode()
    assert "was answered before" in again


def test_who_may_only_look_reads_the_question_and_cannot_answer():
    job = asking()
    looker = viewer()
    page = looker.get(f"/jobs/{job.pk}/").content.decode()
    assert "Really?" in page
    assert "/answer/" not in page
    assert looker.post(f"/jobs/{job.pk}/answer/", {"key": "sure"}).status_code == 403


def test_the_path_of_a_job_knows_every_gate():
    assert set(timeline.GATES) == set(Gate)


@pytest.mark.django_db(transaction=True)
def test_the_wait_for_an_answer_is_told_while_it_lasts_and_when_it_is_over():
    job = asking()

    def path():
        now = Job.objects.get(pk=job.pk)
        found = timeline.stretches(now, queries.attempts_of(job.pk), queries.events_of(job.pk), queries.met_at(job.pk))
        return [stretch.state for stretch in found]

    assert path()[-2:] == ["running", "answer"]
    for question in AskedQuestion.objects.filter(job=job):
        lifecycle.answer(job.pk, {question.key: {"action": "decline"}}, by="t")
    running(Job.objects.get(pk=job.pk))
    assert path()[-4:] == ["answer", "capacity", "starting", "running"]


def test_a_form_of_no_fields_says_nothing():
    form = SchemaForm({"type": "object", "properties": {}}, QueryDict())
    assert form.is_valid()
    assert form.values == {}
