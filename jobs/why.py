"""Why jobs wait: an answer for many jobs in a fixed few queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from jobs import configuration, workers
from jobs.census import census
from jobs.limits import Group, Limits, Resources, Rule
from jobs.models import Attempt, Dependency, GroupRule, Job
from jobs.room import EVERYTHING, groups_of
from jobs.states import LIVE_ATTEMPT, Gate, Status
from jobs.tools import EXTERNAL, STANDARD

# Blockers that are named, and places in line that are counted.
MOST, LINE = 100, 10_000


@dataclass(frozen=True, kw_only=True)
class Why:
    """Why a pending job waits. `reason` is a stable word, `text` is for people, `blockers` are job ids.

    `place` is its place in line, 1 the first; None when it is not in line or beyond the first ten thousand. `until` is the
    earliest time it can start, where that is known.
    """

    reason: str
    text: str
    since: datetime
    blockers: Sequence[str] = ()
    until: datetime | None = None
    place: int | None = None


def why_pending(job: Job) -> Why | None:
    """Why this job waits; None when it does not."""
    return why_all([job]).get(job.pk)


def why_all(jobs: Sequence[Job]) -> dict[str, Why]:
    """Why each of these jobs waits, by id; those that do not wait are left out. At most ten queries."""
    waiting = [job for job in jobs if job.status == Status.PENDING]
    found: dict[str, Why] = {}
    for job in waiting:
        if job.gate == Gate.PAUSED:
            found[job.pk] = Why(reason="paused", text=f"It is paused: {job.reason}.", since=job.gate_since)
        elif job.gate == Gate.QUARANTINED:
            found[job.pk] = Why(reason="quarantined", text=f"It is held until it is released: {job.reason}.", since=job.gate_since)
        elif job.gate == Gate.INPUT:
            found[job.pk] = Why(reason="input", text=f"It {job.reason}, and waits for the answer.", since=job.gate_since)
        elif job.gate == Gate.TIME:
            found[job.pk] = _until_its_time(job)
    given = [job for job in waiting if job.current_attempt_id is not None]
    if given:
        found |= _not_started(given)
    tied = [job for job in waiting if job.gate == Gate.DEPENDENCIES]
    if tied:
        found |= _on_parents(tied)
    ready = [job for job in waiting if job.gate == Gate.OPEN and job.current_attempt_id is None]
    if ready:
        found |= _in_line(ready)
    return found


def _until_its_time(job: Job) -> Why:
    if job.attempt_count:
        text = "The last attempt failed; it is tried again after a pause."
        if job.retry_count:
            text = f"The last attempt failed; retry {job.retry_count} of {job.max_retries} comes after a pause."
        return Why(reason="retry", text=text, since=job.gate_since, until=job.run_at)
    return Why(reason="schedule", text="It was asked to start later.", since=job.gate_since, until=job.run_at)


def _not_started(jobs: Sequence[Job]) -> dict[str, Why]:
    served = {queue for worker in workers.alive() if worker.draining_at is None for queue in worker.queues}
    found = {}
    for job in jobs:
        if job.queue == EXTERNAL:
            reason, text = "starting", "It was given a slot and starts as soon as an external worker claims it."
        elif job.queue in served:
            reason, text = "starting", "It was given a slot and starts as soon as a worker process takes it."
        elif served:
            reason, text = "no_worker", f"It was given a slot, but no worker serves its queue {job.queue}."
        else:
            reason, text = "no_worker", "It was given a slot, but no worker is running to take it."
        found[job.pk] = Why(reason=reason, text=text, since=job.updated_at)
    return found


def _on_parents(jobs: Sequence[Job]) -> dict[str, Why]:
    unmet: dict[str, list[str]] = {job.pk: [] for job in jobs}
    rows = Dependency.objects.filter(job__in=unmet, met_at=None).order_by("job", "position").values_list("job_id", "parent_id")
    for job_id, parent_id in rows:
        unmet[job_id].append(parent_id)
    return {
        job.pk: Why(
            reason="dependencies",
            text=f"It waits for {len(parents)} job{'s' if len(parents) != 1 else ''} to complete.",
            since=job.gate_since,
            blockers=parents[:MOST],
        )
        for job, parents in zip(jobs, unmet.values(), strict=True)
    }


@dataclass(frozen=True, kw_only=True)
class _Standing:
    """How the limits stand, read once for all jobs that are asked about."""

    limits: Limits
    held: Sequence[tuple[str, tuple[Group, ...], Resources]]  # who holds a slot
    running: Counter[Group]
    started: Counter[Group]
    pauses: dict[Group, GroupRule]
    demand: dict[str, int]  # what external workers can run, by tool
    frees_at: dict[Group, datetime]  # when the oldest start of the last minute no longer counts

    @property
    def used(self) -> Resources:
        return Resources(
            memory_mb=sum(needs.memory_mb for _, _, needs in self.held),
            cpu_weight=sum(needs.cpu_weight for _, _, needs in self.held),
            disk_mb=sum(needs.disk_mb for _, _, needs in self.held),
        )

    def holders(self, group: Group) -> list[str]:
        return [job for job, groups, _ in self.held if group in groups][:MOST]


def _in_line(jobs: Sequence[Job]) -> dict[str, Why]:
    if not workers.dispatcher_alive():
        text = "No dispatcher is running, so nothing is started."
        return {job.pk: Why(reason="no_dispatcher", text=text, since=job.gate_since) for job in jobs}
    standing = _standing()
    places = _places([job.pk for job in jobs])
    return {job.pk: _ready(job, standing, places.get(job.pk)) for job in jobs}


def _standing() -> _Standing:
    rules = configuration.rules()
    running, started = census()
    live = (
        Attempt.objects.filter(state__in=LIVE_ATTEMPT)
        .exclude(queue=STANDARD)
        .order_by("id")
        .select_related("job")
        .defer(*_PAYLOADS)
    )
    return _Standing(
        limits=Limits(**vars(configuration.limits()) | {"rules": rules}),
        held=[
            (a.job_id, _groups(a.job), Resources(memory_mb=a.memory_mb, cpu_weight=a.cpu_weight, disk_mb=a.disk_mb)) for a in live
        ],
        running=running,
        started=started,
        demand=workers.demand(),
        pauses={(rule.kind, rule.name): rule for rule in GroupRule.objects.exclude(paused_at=None)},
        frees_at=_frees_at() if any(rule.per_minute is not None for rule in rules.values()) else {},
    )


_PAYLOADS = ("job__params", "job__result", "job__diagnostics", "job__metadata")


def _groups(job: Job) -> tuple[Group, ...]:
    return groups_of(job.tool, job.operation, job.project, job.concurrency_key, job.queue)


_OLDEST_STARTS = """
SELECT tool, operation, project, j.concurrency_key, j.queue, min(admitted_at)
FROM jobs_attempt a JOIN jobs_job j ON j.id = a.job_id
WHERE rated AND admitted_at > now() - interval '60 seconds' AND (a.started_at IS NOT NULL OR state = 'admitted')
GROUP BY 1, 2, 3, 4, 5
"""


def _frees_at() -> dict[Group, datetime]:
    found: dict[Group, datetime] = {}
    with connection.cursor() as cursor:
        cursor.execute(_OLDEST_STARTS)
        for *names, oldest in cursor.fetchall():
            for group in groups_of(*names):
                found[group] = min(found.get(group, oldest), oldest)
    return {group: oldest + timedelta(seconds=60) for group, oldest in found.items()}


# One walk over the beginning of the index job_ready, however many jobs are asked about.
_PLACES = """
SELECT id, place FROM (
    SELECT id, row_number() OVER (ORDER BY rank, id) AS place FROM (
        SELECT id, rank FROM jobs_job
        WHERE status = 'pending' AND gate = 'open' AND current_attempt_id IS NULL AND kind = 'task'
        ORDER BY rank, id LIMIT %(line)s) first) line
WHERE id = ANY(%(ids)s)
"""


def _places(ids: list[str]) -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute(_PLACES, {"ids": ids, "line": LINE})
        return dict(cursor.fetchall())


def _ready(job: Job, standing: _Standing, place: int | None) -> Why:
    line = f"it is number {place} in line" if place else f"it is beyond number {LINE} in line"
    if job.queue == EXTERNAL and not standing.demand.get(job.tool):
        text = f"No external worker has asked for jobs of the tool {job.tool} lately; {line}."
        return Why(reason="no_worker", text=text, since=job.gate_since, place=place)
    for group in _groups(job):
        rule = standing.limits.rules.get(group, Rule())
        if rule.paused and group in standing.pauses:
            return _paused(group, standing.pauses[group], place)
        if rule.max_running is not None and standing.running[group] >= rule.max_running:
            text = f"{_called(group)}: {standing.running[group]} of {rule.max_running} allowed are running; {line}."
            return Why(reason="limit", text=text, since=job.gate_since, blockers=standing.holders(group), place=place)
        if rule.per_minute is not None and standing.started[group] >= rule.per_minute:
            text = f"{_called(group)}: {rule.per_minute} have started in the last minute, and no more may; {line}."
            return Why(reason="rate", text=text, since=job.gate_since, until=standing.frees_at.get(group), place=place)
    key: Group = ("key", job.concurrency_key)
    if job.concurrency_key and standing.running[key] >= job.concurrency_limit:
        text = f"{_called(key)}: {standing.running[key]} of {job.concurrency_limit} allowed are running; {line}."
        return Why(reason="limit", text=text, since=job.gate_since, blockers=standing.holders(key), place=place)
    text = _shortage(job, len(standing.held), standing.used, standing.limits)
    if text:
        blockers = [held for held, _, _ in standing.held[:MOST]]
        return Why(reason="capacity", text=f"{text}; {line}.", since=job.gate_since, blockers=blockers, place=place)
    text = "It is being started." if place == 1 else f"It is {line.removeprefix('it is ')} and is started in its turn."
    return Why(reason="queued", text=text, since=job.gate_since, place=place)


def _called(group: Group) -> str:
    kind, name = group
    return "All jobs" if group == EVERYTHING else f"{'Concurrency key' if kind == 'key' else kind.capitalize()} {name}"


def _paused(group: Group, rule: GroupRule, place: int | None) -> Why:
    text = f"{_called(group)} {'are' if group == EVERYTHING else 'is'} paused by {rule.paused_by}"
    text += f": {rule.pause_reason}" if rule.pause_reason else ""
    assert rule.paused_at is not None  # noqa: S101  (only paused ones are read)
    return Why(reason="paused", text=f"{text}.", since=rule.paused_at, place=place)


def _shortage(job: Job, taken: int, used: Resources, limits: Limits) -> str:
    """Which limit is reached, with its numbers; "" when the job would fit now."""
    if taken >= limits.max_concurrent:
        return f"{taken} of {limits.max_concurrent} slots are taken"
    room = limits.resources.less(used)
    short = [
        f"it needs {needs:g} {name}, and {max(0, free):g} of {most:g} are free"
        for name, needs, free, most in (
            ("MB of memory", job.memory_mb, room.memory_mb, limits.resources.memory_mb),
            ("of cpu weight", job.cpu_weight, room.cpu_weight, limits.resources.cpu_weight),
            ("MB of disk", job.disk_mb, room.disk_mb, limits.resources.disk_mb),
        )
        if needs > free
    ]
    text = " and ".join(short)
    return text[:1].upper() + text[1:]
