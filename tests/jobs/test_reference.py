"""Admission against a slow, obvious scheduler, round for round until nothing moves, over rows in the real database."""

from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs import admission, configuration, lifecycle, steering
from jobs.lifecycle import Usage
from jobs.limits import Limits, Resources
from jobs.models import Job, QueueConfig
from jobs.retry import Again
from tests import factories
from tests.factories import LEASE, submitted

pytestmark = pytest.mark.django_db
TOOLS = ("test.add", "test.walk")
OPERATIONS = ("execution", "analysis")
PRIORITIES = ("critical", "high", "medium", "low")
# What there is of each resource.
WHOLE = {"memory": 100, "cpu": 8, "disk": 100}
ROUNDS = 5


@dataclass
class World:
    """What a test makes up and what has become of it; the reference reads it, the product reads rows made of it."""

    jobs: list[dict]
    rules: dict
    slots: int
    starts: list[dict] = field(default_factory=list)  # every start, all within the same minute

    def ready(self, job):
        return job["state"] == "pending" and all(self.jobs[parent]["state"] == "completed" for parent in job["after"])

    def groups(self, job):
        named = [(kind, job[kind]) for kind in ("tool", "operation", "project", "key", "queue") if job[kind]]
        return [("all", ""), *named]

    def shut(self, group, holding, started):
        paused, most, rate = self.rules.get(group, (False, None, None))
        return (
            paused
            or (most is not None and sum(group in self.groups(job) for job in holding) >= most)
            or (rate is not None and sum(group in self.groups(job) for job in started) >= rate)
        )


def reference(world):
    """Walk over all jobs in order; take each that may start. No windows, no indexes, no exclusions."""
    holding = [job for job in world.jobs if job["state"] == "running"]
    free = {what: WHOLE[what] - sum(job[what] for job in holding) for what in WHOLE}
    slots, started, taken = world.slots - len(holding), list(world.starts), []
    for n in sorted(range(len(world.jobs)), key=lambda n: (PRIORITIES.index(world.jobs[n]["priority"]), n)):
        job = world.jobs[n]
        if slots <= 0:
            break
        if not world.ready(job):
            continue
        if any(world.shut(group, holding, started) for group in world.groups(job)):
            continue
        if job["key"] and sum(other["key"] == job["key"] for other in holding) >= job["key_limit"]:
            continue
        if all(job[what] <= max(0, free[what]) for what in WHOLE):
            taken.append(n)
            holding.append(job)
            started.append(job)
        elif not job["patient"]:
            continue
        slots -= 1
        free = {what: free[what] - job[what] for what in WHOLE}
    return taken


made_up_jobs = st.lists(
    st.fixed_dictionaries({
        "tool": st.sampled_from(TOOLS),
        "operation": st.sampled_from(OPERATIONS),
        "project": st.sampled_from(["", "p"]),
        "queue": st.sampled_from(["default", "default", "gpu"]),
        "key": st.sampled_from(["", "", "a", "b"]),
        "key_limit": st.integers(1, 3),
        "priority": st.sampled_from(PRIORITIES),
        "memory": st.sampled_from([0, 0, 10, 40, 100]),
        "cpu": st.sampled_from([0, 0, 1, 2.5, 8]),
        "disk": st.sampled_from([0, 0, 50, 100]),
        "patient": st.booleans(),
        "after": st.sets(st.integers(0, 30), max_size=2),
        "state": st.sampled_from(["pending", "pending", "pending", "pending", "paused", "later"]),
        "outcome": st.sampled_from(["completed", "completed", "running", "again"]),
    }),
    max_size=16,
)  # fmt: skip
NAMES = [("all", ""), *(("tool", t) for t in TOOLS), ("operation", "analysis"), ("project", "p"), ("key", "a"), ("queue", "gpu")]
made_up_rules = st.dictionaries(
    st.sampled_from(NAMES),
    st.tuples(st.sampled_from([False, False, True]), st.none() | st.integers(0, 3), st.none() | st.integers(1, 4)),
    max_size=3,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(jobs=made_up_jobs, rules=made_up_rules, slots=st.integers(0, 6), look=st.sampled_from([2, 5, 200]))
def test_every_round_admits_what_a_slow_and_obvious_scheduler_would(monkeypatch, jobs, rules, slots, look):
    # Small looks make one round need several, as a long backlog does.
    monkeypatch.setattr(admission, "LOOK_SIZES", (look,))
    monkeypatch.setattr(admission, "LOOKS", 100)
    with transaction.atomic():
        run(World(jobs=jobs, rules=rules, slots=slots))
        transaction.set_rollback(True)


def run(world):
    """Make the rows, then hold each round against the reference."""
    configuration.row()
    QueueConfig.objects.update(
        max_concurrent_jobs=world.slots, max_memory_mb=WHOLE["memory"], max_cpu_weight=WHOLE["cpu"], max_disk_mb=WHOLE["disk"]
    )
    for n, job in enumerate(world.jobs):
        job["after"] = sorted(parent for parent in job["after"] if parent < n)
        make(n, job)
    for (kind, name), (paused, most, rate) in world.rules.items():
        steering.limit(kind, name, max_running=most, per_minute=rate, by="t")
        if paused:
            steering.pause(kind, name, by="t")
    for _ in range(ROUNDS):
        while lifecycle.settle().rows:
            pass
        lifecycle.open_due()
        now = admission.outlook()
        choice = admission.next_jobs(configuration.limits_at(now.config), now)
        expected = reference(world)
        assert choice.ids == [f"j{n:02}" for n in expected]
        admitted = lifecycle.admit(choice.ids, config=now.config, rated=choice.rated)
        for n, row in zip(expected, admitted, strict=True):
            go_on(world, n, row)


def make(n, job):
    made = submitted(
        job["tool"],
        id=f"j{n:02}",
        operation=job["operation"],
        project=job["project"],
        queue=job["queue"],
        concurrency_key=job["key"],
        concurrency_limit=job["key_limit"],
        priority=job["priority"],
        depends_on=[f"j{parent:02}" for parent in job["after"]],
        resources=Resources(memory_mb=job["memory"], cpu_weight=job["cpu"], disk_mb=job["disk"]),
        run_at=timezone.now() + timedelta(hours=1) if job["state"] == "later" else None,
    )
    if job["state"] == "paused":
        lifecycle.pause(made.id, by="t")
    job["patient"] = job["patient"] and made.gate == "open"
    Job.objects.filter(pk=made.id).update(gate_since="2020-01-01T00:00Z" if job["patient"] else Now())


def go_on(world, n, row):
    """What becomes of an admitted job, in the rows and in the made-up world."""
    job = world.jobs[n]
    world.starts.append(job)
    begun = lifecycle.start(row.current_attempt_id, lifecycle.Child(worker="w", pid=n + 1, lease=LEASE))
    job["state"] = "running"
    if job["outcome"] == "completed":
        lifecycle.finish(begun, factories.result(), Usage(), actor="t")
        job["state"] = "completed"
    elif job["outcome"] == "again":
        # It comes back by its rank, and is as new as regards its patience.
        lifecycle.fail(begun, factories.BROKEN, Again(delay=0, spends_retry=True), Usage(), actor="t")
        job |= {"state": "pending", "outcome": "completed", "patient": False}


def test_a_job_that_is_tried_again_comes_back_by_its_rank_and_not_to_the_front():
    configuration.row()
    QueueConfig.objects.update(max_concurrent_jobs=1)
    first, urgent, behind = submitted(id="a"), submitted(id="b", priority="critical"), submitted(id="c")
    Job.objects.filter(pk=first.id).update(rank=2)
    Job.objects.filter(pk=urgent.id).update(rank=1)
    Job.objects.filter(pk=behind.id).update(rank=3)
    world = []
    for _ in range(4):
        lifecycle.open_due()
        now = admission.outlook()
        (chosen,) = admission.next_jobs(configuration.limits_at(now.config), now).ids
        (row,) = lifecycle.admit([chosen], config=now.config)
        begun = lifecycle.start(row.current_attempt_id, lifecycle.Child(worker="w", pid=1, lease=LEASE))
        if chosen == "a" and "a" not in world:
            # While it backs off, a more urgent one comes.
            lifecycle.fail(begun, factories.BROKEN, Again(delay=0, spends_retry=True), Usage(), actor="t")
            submitted(id="d", priority="critical")
            Job.objects.filter(pk="d").update(rank=0)
        else:
            lifecycle.finish(begun, factories.result(), Usage(), actor="t")
        world.append(chosen)
    assert world == ["b", "a", "d", "a"]


@settings(max_examples=200, deadline=None)
@given(
    weights=st.fixed_dictionaries({name: st.floats(0.1, 100) for name in PRIORITIES}),
    mine=st.sampled_from(PRIORITIES),
    theirs=st.sampled_from(PRIORITIES),
    later=st.integers(1, 10**12),
)
def test_no_job_is_passed_by_one_that_came_later_than_the_greatest_head_start(weights, mine, theirs, later):
    """The bound of docs/operations.md: ten minutes for each point between its weight and the greatest."""
    limits = Limits(weights=weights)
    bound = (max(weights.values()) - weights[mine]) * 600 * 1_000_000
    came = 1_700_000_000_000_000
    after = came + round(bound) + later
    assert came - limits.head_start_us(mine) < after - limits.head_start_us(theirs) + 1
