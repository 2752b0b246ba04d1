"""A Hypothesis machine over the verbs of the lifecycle: whatever happens in whatever order, the invariants hold.

The clock is virtual: a schema that comes before pg_catalog in the search path has a `now()` of its own, which the machine sets.
The rows, the constraints and the statements are the real ones.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from jobs import admission, configuration, lifecycle, rescue
from jobs.errors import Category, DependencyCycle, IllegalMove, UnknownDependency
from jobs.failures import Failure
from jobs.lifecycle import Beat, Child, Running, Submission, Usage
from jobs.models import Attempt, Job
from jobs.retry import Again, Retry, decide
from tests.factories import result
from tests.faults import invariants

LEASE = 6.0
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
_CLOCK = """
CREATE SCHEMA IF NOT EXISTS clock;
CREATE OR REPLACE FUNCTION clock.now() RETURNS timestamptz LANGUAGE sql STABLE
    AS $$ SELECT current_setting('clock.now')::timestamptz $$;
CREATE OR REPLACE FUNCTION clock.statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE
    AS $$ SELECT current_setting('clock.now')::timestamptz $$;
SET search_path = clock, pg_catalog, public;
"""
# Rows of a run before this one; the configuration is made anew too.
_CLEAR = """
TRUNCATE jobs_job, jobs_attempt, jobs_event, jobs_dependency, jobs_jobmetrics, jobs_failuregroup, jobs_queueconfig
CASCADE
"""


def tell(sql: str, *values: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)


def ask(sql: str) -> list[invariants.Row]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


class Lifecycle(RuleBasedStateMachine):
    """`bells` are doorbells on their way; `hands` are processes that run an attempt, `zombies` those given up for dead."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[str] = []
        self.bells: list[int] = []
        self.hands: list[Running] = []
        self.zombies: list[Running] = []
        self.now = FIRST
        self.pids = itertools.count(1)
        tell(_CLEAR)
        self.move_clock(0)
        self.limit(2)

    def move_clock(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        tell("SELECT set_config('clock.now', %s, false)", self.now.isoformat())

    def limit(self, slots: int) -> None:
        self.slots = slots
        configuration.row()
        tell("UPDATE jobs_queueconfig SET max_concurrent_jobs = %s", slots)

    def live(self) -> int:
        return Attempt.objects.filter(state__in=["admitted", "running"]).count()

    # --- from outside --------------------------------------------------------------------------------------------------
    @initialize()
    def first(self) -> None:
        self.submit(retries=1, parents=0, policy="fail", later=0)

    @rule(
        retries=st.integers(0, 2),
        parents=st.integers(0, 2),
        policy=st.sampled_from(["fail", "cancel", "run_anyway"]),
        later=st.sampled_from([0, 0, 5]),
    )
    @precondition(lambda self: len(self.jobs) < 8)
    def submit(self, retries: int, parents: int, policy: str, later: float) -> None:
        job = lifecycle.submit(
            Submission(
                tool="test.add",
                max_retries=retries,
                depends_on=self.jobs[-parents:] if parents else (),
                dependency_policy=policy,
                run_at=self.now + timedelta(seconds=later) if later else None,
            ),
            by="machine",
        )
        self.jobs.append(job.id)

    @rule(which=st.integers(0, 7))
    def cancel(self, which: int) -> None:
        lifecycle.cancel(self.jobs[which % len(self.jobs)], by="machine")

    @rule(which=st.integers(0, 7))
    def retry(self, which: int) -> None:
        with contextlib.suppress(IllegalMove):
            lifecycle.retry(self.jobs[which % len(self.jobs)], by="machine")

    @rule(which=st.integers(0, 7), on=st.booleans())
    def pause_or_resume(self, which: int, on: bool) -> None:  # noqa: FBT001  (Hypothesis names it)
        with contextlib.suppress(IllegalMove):
            job = self.jobs[which % len(self.jobs)]
            lifecycle.pause(job, by="machine") if on else lifecycle.resume(job, by="machine")

    @rule(which=st.integers(0, 7))
    def release(self, which: int) -> None:
        """What was lost three times in a row is let in again by a person."""
        with contextlib.suppress(IllegalMove):
            lifecycle.release(self.jobs[which % len(self.jobs)], by="machine")

    @rule(which=st.integers(0, 7), on=st.integers(0, 7), add=st.booleans())
    def depend(self, which: int, on: int, add: bool) -> None:  # noqa: FBT001
        child, parent = (self.jobs[n % len(self.jobs)] for n in (which, on))
        with contextlib.suppress(IllegalMove, DependencyCycle, UnknownDependency):
            lifecycle.depend(child, **{"add" if add else "remove": [parent]}, by="machine")

    @rule(which=st.integers(0, 7))
    @precondition(lambda self: len(self.jobs) > 1)
    def delete(self, which: int) -> None:
        with contextlib.suppress(IllegalMove):
            job = self.jobs[which % len(self.jobs)]
            lifecycle.delete(job, by="machine")
            self.jobs.remove(job)

    @rule()
    def remove_old(self) -> None:
        """Retention. One job is left, so that there is something to act upon."""
        with transaction.atomic():
            old = lifecycle.lock_removable(older_than=timedelta(seconds=30), counted=2**62, most=len(self.jobs) - 1)
            assert lifecycle.remove(old) == len(old)
        self.jobs = [job for job in self.jobs if job not in old]

    @rule(slots=st.integers(0, 4), takes_back=st.booleans())
    def change_limit(self, slots: int, takes_back: bool) -> None:  # noqa: FBT001
        self.limit(slots)
        if takes_back:
            lifecycle.withdraw(by="machine", reason="another limit")

    # --- the dispatcher ------------------------------------------------------------------------------------------------
    @rule()
    def admit(self) -> None:
        before = self.live()
        now = admission.outlook()
        if now.unsettled:
            lifecycle.settle()
        if now.due:
            lifecycle.open_due()
        choice = admission.next_jobs(configuration.limits_at(now.config), now)
        admitted = lifecycle.admit(choice.ids, config=now.config, rated=choice.rated)
        rung = [job.current_attempt_id or 0 for job in admitted]
        self.bells += rung
        lifecycle.note_rung(rung)
        assert self.live() <= max(self.slots, before), "5: more run than may"

    @rule()
    def sweep(self) -> None:
        """Lose what is over; ring again what nobody answered."""
        alive = {running.attempt_id for running in self.hands}
        rescue.rescue_lost()
        for running in list(self.hands):
            if not Attempt.objects.filter(pk=running.attempt_id, state="running").exists():
                self.hands.remove(running)
                self.zombies.append(running)
        self.bells += [a for a in Attempt.objects.filter(state="admitted").values_list("pk", flat=True) if a not in alive]

    @rule(seconds=st.sampled_from([0.5, 1.5, 5.0, 7.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.move_clock(seconds)

    # --- doorbells -----------------------------------------------------------------------------------------------------
    @rule(which=st.integers(0, 9), twice=st.booleans())
    @precondition(lambda self: self.bells)
    def answer(self, which: int, twice: bool) -> None:  # noqa: FBT001
        bell = self.bells[which % len(self.bells)]
        if not twice:
            self.bells.remove(bell)
        if begun := lifecycle.start(bell, Child(worker="machine:1", pid=next(self.pids), lease=LEASE)):
            assert begun.attempt_id == bell
            assert bell not in {running.attempt_id for running in self.hands + self.zombies}, "2: started twice"
            self.hands.append(begun)

    @rule()
    def drop_doorbells(self) -> None:
        self.bells.clear()

    # --- processes -----------------------------------------------------------------------------------------------------
    def hand(self, which: int) -> Running:
        return self.hands[which % len(self.hands)]

    @rule(which=st.integers(0, 9), progress=st.floats(0, 100), tick=st.integers(0, 50))
    @precondition(lambda self: self.hands)
    def beat(self, which: int, progress: float, tick: int) -> None:
        """Progress comes out of order: a tick may be older than the last."""
        running = self.hand(which)
        told = lifecycle.beat(running, news(progress, tick), lease=LEASE)
        assert (told is not None) == self.is_current(running), "4: a beat of a superseded attempt"

    @rule(which=st.integers(0, 9))
    @precondition(lambda self: self.hands)
    def crash(self, which: int) -> None:
        """Nothing more is heard of it for now."""
        running = self.hand(which)
        self.hands.remove(running)
        self.zombies.append(running)

    @rule(which=st.integers(0, 9), how=st.sampled_from(["finish", "fail", "permanent", "interrupt", "stop"]), dead=st.booleans())
    @precondition(lambda self: self.hands or self.zombies)
    def end(self, which: int, how: str, dead: bool) -> None:  # noqa: FBT001
        """By a process that lives, or by one that was given up: what it writes is refused unless it is still the current one."""
        hands = self.zombies if dead and self.zombies else self.hands or self.zombies
        running = hands[which % len(hands)]
        current = self.is_current(running)
        cancelled = Job.objects.filter(pk=running.job.id, cancel_requested_at__isnull=False).exists()
        ended = END[how](running)
        if not current:
            assert ended is None, "4: an end by a superseded attempt"
        elif cancelled and how != "stop":
            assert ended is None, "7: an end that is not a cancel"
            assert lifecycle.stop(running, Usage(), actor="machine") is not None
        else:
            assert ended is not None
        hands.remove(running)

    def is_current(self, running: Running) -> bool:
        return Job.objects.filter(pk=running.job.id, current_attempt=running.attempt_id, status="running").exists()

    # --- what holds ----------------------------------------------------------------------------------------------------
    @invariant()
    def nothing_is_broken(self) -> None:
        assert invariants.broken(invariants.facts(ask, settled=False)) == []

    def teardown(self) -> None:
        """Left alone, with a process that works, everything comes to its end."""
        self.limit(4)
        for _ in range(60):
            for job in self.jobs:
                for let_in in (lifecycle.resume, lifecycle.release):
                    with contextlib.suppress(IllegalMove):
                        let_in(job, by="machine")
            self.move_clock(40)
            self.sweep()
            self.admit()
            for bell in list(dict.fromkeys(self.bells)):
                if begun := lifecycle.start(bell, Child(worker="machine:1", pid=next(self.pids), lease=LEASE)):
                    finish(begun) or lifecycle.stop(begun, Usage(), actor="machine")
            self.bells.clear()
            if not Job.objects.filter(finished_at=None).exists():
                break
        assert invariants.broken(invariants.facts(ask)) == []


def news(progress: float, tick: int) -> Beat:
    nothing = {"message": "", "stage": "", "sub_progress": None, "diagnostics": [], "metadata": {}}
    return Beat(progress=progress, tick=tick, peak_memory_mb=0, cpu_percent=0, **nothing)  # type: ignore[arg-type]


def finish(running: Running) -> Job | None:
    return lifecycle.finish(running, result(running.attempt_id), Usage(), actor="machine")


def fail(running: Running, category: Category) -> Job | None:
    # As it was at the start, if it was deleted or removed meanwhile.
    job = Job.objects.filter(pk=running.job.id).first() or running.job
    policy = Retry(max=job.max_retries, first=1.0, factor=2.0, cap=30.0)
    decision = decide(policy, category, retries=job.retry_count, jitter=1.0)
    assert isinstance(decision, Again) == (category is Category.TRANSIENT and job.retry_count < job.max_retries)
    failure = Failure(category=category, error_class="Broken", message="it broke")
    return lifecycle.fail(running, failure, decision, Usage(), actor="machine")


END = {
    "finish": finish,
    "fail": lambda running: fail(running, Category.TRANSIENT),
    "permanent": lambda running: fail(running, Category.PERMANENT),
    "interrupt": lambda running: lifecycle.interrupt(running, Usage(), actor="machine"),
    "stop": lambda running: lifecycle.stop(running, Usage(), actor="machine"),
}


@pytest.fixture
def virtual_clock():
    """`now()` of this connection is what the machine says; put back with the connection."""
    tell("SELECT set_config('clock.now', %s, false)", FIRST.isoformat())
    tell(_CLOCK)
    yield
    tell("SET search_path = public")
    tell("DROP SCHEMA clock CASCADE")
    connection.close()


@pytest.mark.django_db(transaction=True)
def test_the_verbs_follow_a_clock_that_is_set_by_hand(virtual_clock):
    tell("SELECT set_config('clock.now', '2031-05-01T00:00:00Z', false)")
    assert lifecycle.submit(Submission(tool="test.add"), by="t").created_at == datetime(2031, 5, 1, tzinfo=UTC)


@pytest.mark.timeout(1800)
@pytest.mark.django_db(transaction=True)
def test_no_order_of_verbs_breaks_an_invariant(virtual_clock):
    deep = os.environ.get("FAULTS_MACHINE")  # examples; `make faults` asks for many
    run_state_machine_as_test(
        Lifecycle,
        settings=settings(
            max_examples=int(deep or 8),
            stateful_step_count=40 if deep else 25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
