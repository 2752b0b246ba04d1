"""/metrics, as a monitoring system reads it: against figures worked out by hand."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from jobs import briefly, lifecycle, rollup, tokens, workers
from jobs.lifecycle import Usage
from jobs.models import Attempt, Event, RollupMark
from jobs.retry import Again, Quarantine
from tests import factories
from tests.api.steps import Caller, completed, failed, problem, running, signed_in, submitted

pytestmark = pytest.mark.django_db(transaction=True)

_SAMPLE = re.compile(r"([a-z_]+)(?:\{(.*)\})? ([-+0-9.e]+)")
TOOL = "doors.sum"


def read(client: Client) -> dict[tuple[str, ...], float]:
    """Name and values of labels -> figure. Every line must be a comment or a sample."""
    briefly.forget()
    response = client.get("/metrics")
    assert response.status_code == 200, response.content
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = {}
    for line in response.content.decode().splitlines():
        if line.startswith("# "):
            continue
        match = _SAMPLE.fullmatch(line)
        assert match, line
        labels = re.findall(r'[a-z]+="([^"]*)"', match[2] or "")
        found[(match[1], *labels)] = float(match[3])
    return found


def count_events() -> None:
    while rollup.roll_up() or RollupMark.objects.filter(counted__lt=Event.objects.latest("id").pk).exists():
        pass


def a_bit_of_everything() -> None:
    completed()
    failed()
    lifecycle.stop(_cancelled(), Usage(), actor="t")
    lifecycle.interrupt(running(), Usage(), actor="t")
    for decision in (Again(delay=0, spends_retry=False), Quarantine(reason="thrice")):
        lifecycle.lose(factories.running(submitted(), lease=-60), decision, actor="t")
    lifecycle.pause(submitted().id, by="t")
    running()
    Attempt.objects.filter(state="lost").update(refused_writes=3)


def _cancelled() -> Any:
    run = running()
    lifecycle.cancel(run.job.id, by="t")
    return run


def test_every_figure_is_what_one_counts_by_hand() -> None:
    a_bit_of_everything()
    count_events()
    workers.appear(7, slots=4, queues=["default"])
    assert workers.lead()
    seen = read(Caller().client)
    assert {key[1:]: n for key, n in seen.items() if key[0] == "jobsite_jobs"} == {
        ("completed", TOOL): 1, ("failed", TOOL): 1, ("cancelled", TOOL): 1, ("pending", TOOL): 4, ("running", TOOL): 1
    }  # fmt: skip
    gates = {key[1]: n for key, n in seen.items() if key[0] == "jobsite_queue_length" and n}
    assert gates == {"open": 2, "quarantined": 1, "paused": 1}
    assert {key[1]: n for key, n in seen.items() if key[0] == "jobsite_attempts_total"} == {
        "succeeded": 1, "failed": 1, "cancelled": 1, "interrupted": 1, "lost": 1, "quarantined": 1, "timed_out": 0
    }  # fmt: skip
    assert seen["jobsite_jobs_submitted_total", TOOL] == 8
    assert seen["jobsite_jobs_ended_total", "cancelled", TOOL] == 1
    assert (seen["jobsite_losses_total", TOOL], seen["jobsite_rescues_total", TOOL], seen["jobsite_retries_total", TOOL]) == (
        2,
        1,
        1,
    )
    assert seen["jobsite_refused_writes_total",] == 3
    assert "3 writes of attempts that had been given up" in signed_in().get("/statistics/").content.decode()
    assert (seen["jobsite_running",], seen["jobsite_admitted",]) == (1, 0)
    assert (seen["jobsite_workers_alive",], seen["jobsite_worker_slots",], seen["jobsite_dispatcher_leading",]) == (1, 4, 1)
    assert seen["jobsite_dispatcher_leader_age_seconds",] >= seen["jobsite_dispatcher_leader_silent_seconds",] >= 0
    connection.close()


def test_where_no_dispatcher_leads_that_is_what_is_told_also_before_the_first_job() -> None:
    seen = read(Caller().client)
    assert seen["jobsite_dispatcher_leading",] == 0
    assert ("jobsite_dispatcher_leader_age_seconds",) not in seen


def test_a_hundred_jobs_cost_as_many_queries_as_one_and_who_asks_again_at_once_costs_none() -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            client.get("/metrics")
        return sum("jobs_apitoken" not in query["sql"] for query in asked)

    client = Caller().client
    a_bit_of_everything()
    briefly.forget()
    first = queries()
    for _ in range(100):
        submitted()
    assert (first, queries()) == (5, 0)
    briefly.forget()
    assert queries() == first


def test_it_asks_for_a_token_or_a_session_that_may_read_all() -> None:
    submitted()
    answer = Client().get("/metrics")
    assert answer.status_code == 401
    problem(answer)
    assert Caller(["jobs:submit"], "hand").client.get("/metrics").status_code == 403
    secret = tokens.make("part", by="tests", projects=["ours"])[1]
    assert Client(headers={"authorization": f"Bearer {secret}"}).get("/metrics").status_code == 403
    assert read(signed_in())["jobsite_jobs", "pending", TOOL] == 1
    assert signed_in(name="other").put("/metrics", "{}", content_type="application/json").status_code == 405
