"""A secret that is planted is found nowhere but in the tool's hand."""

import logging

import orjson
import pytest
from django.contrib.auth.models import User
from django.db import connection
from pydantic import BaseModel, SecretStr

from jobs import execution, lifecycle, redis_link
from jobs.masking import MaskingFilter, register_secret
from jobs.models import Job
from jobs.sealing import open_all
from jobs.tools import JobContext, tool
from tests.api.steps import Caller
from tests.factories import admitted, submitted

PLANTED = "hunter2-planted-0451"
REGISTERED = "registered-value-7788"
SEEN = []


class Params(BaseModel):
    user: str = "me"
    password: str = ""
    pin: SecretStr = SecretStr("")
    note: str = ""
    fail: bool = False


class Leaked(Exception):
    pass


@tool("test.leak", params=Params)
def leak(params: Params, job: JobContext) -> dict:
    SEEN.append((params.password, params.pin.get_secret_value(), params.note))
    said = f"logged in as {params.user} with {params.password} and {params.pin.get_secret_value()}"
    logging.getLogger("jobs.test").error("%s", said)
    job.progress(50, said, stage=said[:100])
    job.diagnostic(said)
    job.metadata(said=said, **{params.password or "none": 1})
    if params.fail:
        try:
            raise ValueError(said)
        except ValueError as error:
            raise Leaked(f"{'x' * 1990}{said}") from error
    return {"said": said, "nested": [{"password": params.password}], "note": params.note, "long": "y" * 100 + said}


def everywhere():
    """Every column of every table, as text."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
        )
        tables = [name for (name,) in cursor.fetchall()]
        assert "jobs_job" in tables
        for name in tables:
            cursor.execute(f'SELECT t::text FROM "{name}" t')  # noqa: S608  (names of our own tables)
            for (row,) in cursor.fetchall():
                yield name, row


@pytest.fixture
def heard():
    """What is published to the live pages."""
    pubsub = redis_link.connection().pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe(redis_link.LIVE_CHANNEL)
    pubsub.get_message(timeout=1)
    yield pubsub
    pubsub.close()


def frames_of(pubsub):
    while (message := pubsub.get_message(timeout=0.2)) is not None:
        yield message["data"].decode(errors="replace")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("fail", [False, True])
def test_a_planted_secret_is_found_in_no_column_log_page_frame_or_answer(client, settings, caplog, heard, fail):
    settings.JOBSITE_STAY = 30
    register_secret(REGISTERED)
    caplog.handler.addFilter(MaskingFilter())
    SEEN.clear()
    params = {"password": PLANTED, "pin": PLANTED[::-1], "note": f"use {REGISTERED}", "fail": fail}
    job = admitted(submitted("test.leak", params=params, max_retries=0, metadata={"token": PLANTED, "note": REGISTERED}))
    execution.answer(job.current_attempt_id, "default", 1000)
    execution._pulse.end()
    assert [(PLANTED, PLANTED[::-1], f"use {REGISTERED}")] == SEEN
    row = Job.objects.get(pk=job.id)
    assert row.status == ("failed" if fail else "completed") or row.error_category == "transient"
    lifecycle.cancel(submitted().id, by="t", reason=f"because of {REGISTERED}")
    caller = Caller(["jobs:read"], "reader")
    client.force_login(User.objects.create_superuser("ann"))
    pages = [
        client.get(f"/jobs/{job.id}/"),
        client.get("/jobs/"),
        client.get(f"/jobs/{job.id}/result.json"),
        client.get(f"/admin/jobs/job/{job.id}/change/"),
        *(caller.get(f"/jobs/{job.id}{part}") for part in ("", "/full", "/events", "/attempts")),
    ]
    assert {page.status_code for page in pages} == {200}
    places = [
        *everywhere(),
        *((page.request["PATH_INFO"], page.content.decode()) for page in pages),
        *(("log", record.getMessage() + str(record.exc_text)) for record in caplog.records),
        *(("frame", frame) for frame in frames_of(heard)),
    ]
    assert any(place == "frame" for place, _ in places)
    assert any(place == "log" and "logged in as me" in text for place, text in places)
    for secret in (PLANTED, PLANTED[::-1], REGISTERED):
        assert [place for place, text in places if secret in text] == []


@pytest.mark.django_db
def test_a_copy_and_other_params_keep_their_secrets_and_equal_jobs_are_known_by_them():
    one = submitted("test.leak", params={"password": PLANTED, "pin": "4711-0815"}, deduplicate=True)
    same = submitted("test.leak", params={"password": PLANTED, "pin": "4711-0815"}, deduplicate=True)
    other = submitted("test.leak", params={"password": PLANTED, "pin": "4711-0816"}, deduplicate=True)
    assert (one.id == same.id, one.id == other.id) == (True, False)
    answer = Caller(["jobs:read", "jobs:submit"], "cloner").post(f"/jobs/{one.id}/clone", {"deduplicate": False})
    assert answer.status_code == 202, answer.content
    clone = Job.objects.get(pk=answer.json()["jobId"])
    assert PLANTED not in orjson.dumps(clone.params).decode()
    assert open_all(clone.params)[0]["password"] == PLANTED
