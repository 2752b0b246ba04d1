"""Proofs that nobody here wrote (due-work-harness), on our verbs: who owns a run, what becomes of the lost, when retries end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from due_work_harness import configure
from due_work_harness.host import Host
from due_work_harness.integrations.django import django_host
from due_work_harness.profiles import automatic_recovery as recovery
from due_work_harness.profiles import bounded_ownership as ownership
from due_work_harness.safety import bounded_retry

from jobs import catalog, dispatcher, external, queries, rescue
from jobs.errors import Category
from jobs.external import Report
from jobs.failures import Failure
from jobs.lifecycle import Usage
from jobs.lifecycle.rows import fetch
from jobs.models import Attempt, Job
from tests.factories import completed, failed, running, submitted

pytestmark = pytest.mark.django_db(transaction=True)

TOOL = "pictures.resize"


@pytest.fixture(autouse=True)
def host() -> Host:
    made = django_host(production_packages={"jobs"})
    configure(made)
    return made


def claim() -> tuple[str, int] | None:
    """As a worker outside does: ask, and ask again after a round of the dispatcher."""
    for _ in range(2):
        if found := external.claim([TOOL], worker="one", host="here", most=1, lease=30):
            return found[0].job.id, found[0].attempt_id
        dispatcher.once()
    found = external.claim([TOOL], worker="one", host="here", most=1, lease=30)
    return (found[0].job.id, found[0].attempt_id) if found else None


def finish(_job: str, token: int) -> bool:
    return bool(external.finish(external.held(token), {"isError": False, "content": []}, Usage(), actor="one"))


def fail(_job: str, token: int) -> bool:
    broken = Failure(category=Category.TRANSIENT, error_class="Busy", message="busy")
    return bool(external.fail(external.held(token), broken, Usage(), actor="one"))


def give_back(_job: str, token: int) -> bool:
    return bool(external.give_back(external.held(token), Usage(), actor="one"))


def renew(_job: str, token: int) -> bool:
    return bool(external.report(external.held(token), Report(), lease=60))


def expire(job: str) -> None:
    Attempt.objects.filter(job=job, state="running").update(lease_until=Now() - timedelta(seconds=1))


def seen(job: str) -> Any:
    return (
        Job.objects.values_list("status", "retry_count").get(pk=job),
        list(Attempt.objects.filter(job=job).order_by("id").values_list("state", "lease_until")),
    )


@pytest.fixture
def owned() -> ownership.FencedOwnership:
    catalog.register(TOOL, by="tests", params_schema={"type": "object"})
    return ownership.FencedOwnership(
        name="runs outside",
        make_claimable=lambda: submitted(TOOL).id,
        claim=claim,
        fenced_write=finish,
        other_fenced_writes={"fail": fail, "give back": give_back},
        renew_lease=renew,
        expire_lease=expire,
        reclaim_stalled=lambda _job: rescue.rescue_lost(),
        no_disposition=0,
        release_unchanged=give_back,
        observe=seen,
    )


@pytest.mark.parametrize("proof", ownership.FENCED_OWNERSHIP_PROOFS, ids=lambda proof: proof.__name__)
def test_bounded_ownership(owned: ownership.FencedOwnership, proof: Any) -> None:
    proof(owned)


RECOVERY = (
    recovery.assert_recovers_stranded_work,
    recovery.assert_terminal_rows_are_never_selected,
    recovery.assert_oldest_work_is_recovered_first,
    recovery.assert_selection_is_stable,
)


@pytest.mark.parametrize("proof", RECOVERY, ids=lambda proof: proof.__name__)
def test_recovery_of_lost_runs(proof: Any) -> None:
    lost: list[str] = []
    proof(
        recovery.DueWorkSweep(
            name="runs whose process is gone",
            due_work=lambda: fetch(rescue.EXPIRED, {}),
            run_tick=rescue.rescue_lost,
            make_owed=lambda age=timedelta(seconds=5): made_lost(age, lost),
            make_terminal=lambda age=timedelta(seconds=5): [completed().id, failed().id],
            recovery_delay=timedelta(0),
            page_size=200,
            identity_of=lambda row: row if isinstance(row, str) else row[0],
        )
    )


def made_lost(age: timedelta, lost: list[str]) -> str:
    lost.append(running(submitted(), lease=-age.total_seconds() - 1).job.id)
    return lost[-1]


@pytest.mark.parametrize("proof", bounded_retry.BOUNDED_RETRY_PROOFS, ids=lambda proof: proof.__name__)
def test_bounded_retry(proof: Any) -> None:
    catalog.register(TOOL, by="tests", params_schema={"type": "object"}, max_retries=2)
    reached: list[str] = []

    def run_once(job: str) -> None:
        taken = claim()
        if taken is not None and taken[0] == job:
            reached.append(job)
            fail(*taken)

    proof(
        bounded_retry.BoundedRetry(
            name="a tool that is always busy",
            max_executions=3,
            make_failing=lambda: submitted(TOOL).id,
            due_work=ready,
            run_once=run_once,
            advance_to_due=lambda job: Job.objects.filter(pk=job).update(run_at=Now() - timedelta(seconds=1)) and dispatcher.once(),
            is_terminal=lambda job: Job.objects.get(pk=job).is_final,
            failure_attempt_count=reached.count,
            observe=seen,
        )
    )


def ready() -> list[str]:
    """What stands in line, or has just been given a slot and waits to be claimed."""
    return [job.id for job in [*queries.next_in_line(), *(attempt.job for attempt in queries.holders())]]
