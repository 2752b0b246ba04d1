"""Why jobs wait: an answer for many jobs in a fixed few queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import connection
from django.utils import timezone

from jobs import configuration, workers
from jobs.census import census
from jobs.limits import Group, Limits, Resources, Rule
from jobs.models import Attempt, Dependency, GroupRule, Job
from jobs.room import EVERYTHING, groups_of
from jobs.sight import Sight
from jobs.states import LIVE_ATTEMPT, Gate, Status
from jobs.tools import EXTERNAL, STANDARD

# Blockers that are named, and places in line that are counted.
MOST, LINE = 100, 10_000


@dataclass(frozen=True, kw_only=True)
class Blocker:
    """A job that another one waits for: what it builds on, or what holds what it needs."""

    id: str
    tool: str
    project: str
    status: str


@dataclass(frozen=True, kw_only=True)
class Reached:
    """The limit that a job waits at. `kind` is slots, memory, cpu, disk, or the kind of a group, whose `name` it has then."""

    kind: str
    name: str = ""
    used: float
    most: float


@dataclass(frozen=True, kw_only=True)
class Why:
    """Why a pending job waits. `reason` is a stable word, `text` is for people, `blockers` are the first hundred jobs in its way.

    `place` is its place in line, 1 the first; None when it is not in line or beyond the first ten thousand. `until` is the
    earliest time it can start, where that is known.
    """

    reason: str
    text: str
    since: datetime
    blockers: Sequence[Blocker] = ()
    limit: Reached | None = None
    until: datetime | None = None
    place: int | None = None

    def as_seen(self, sight: Sight) -> Why:
        """Without the jobs that somebody with this sight may not know of."""
        return replace(self, blockers=[job for job in self.blockers if sight.covers(job.project, job.tool)])


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
    return {job.pk: _not_before(job, found[job.pk]) for job in waiting}


def _not_before(job: Job, why: Why) -> Why:
    """Whatever else it waits for, it does not start before the time that was asked for."""
    later = why.until is None and job.run_at is not None and job.run_at > timezone.now()
    return replace(why, until=job.run_at) if later else why


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
    unmet: dict[str, list[Blocker]] = {job.pk: [] for job in jobs}
    rows = (
        Dependency.objects.filter(job__in=unmet, met_at=None)
        .order_by("job", "position")
        .values_list("job_id", "parent_id", "parent__tool", "parent__project", "parent__status")
    )
    for job_id, parent_id, tool, project, status in rows:
        unmet[job_id].append(Blocker(id=parent_id, tool=tool, project=project, status=status))
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
    held: Sequence[Attempt]  # who holds a slot, each with its job
    running: Counter[Group]
    started: Counter[Group]
    pauses: dict[Group, GroupRule]
    demand: dict[str, int]  # what external workers can run, by tool
    frees_at: dict[Group, datetime]  # when the oldest start of the last minute no longer counts

    @property
    def used(self) -> Resources:
        return Resources(
            memory_mb=sum(attempt.memory_mb for attempt in self.held),
            cpu_weight=sum(attempt.cpu_weight for attempt in self.held),
            disk_mb=sum(attempt.disk_mb for attempt in self.held),
        )

    def holders(self, holds: Callable[[Attempt], object]) -> list[Blocker]:
        """The jobs whose attempts hold a slot and pass."""
        jobs = [attempt.job for attempt in self.held if holds(attempt)][:MOST]
        return [Blocker(id=job.pk, tool=job.tool, project=job.project, status=job.status) for job in jobs]

    def members(self, group: Group) -> list[Blocker]:
        return self.holders(lambda attempt: group in _groups(attempt.job))


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
        held=list(live),
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
    held_back = _by_group(job, standing, line) or _by_capacity(job, standing, line)
    if held_back is not None:
        return replace(held_back, place=place)
    text = "It is being started." if place == 1 else f"It is {line.removeprefix('it is ')} and is started in its turn."
    return Why(reason="queued", text=text, since=job.gate_since, place=place)


def _by_group(job: Job, standing: _Standing, line: str) -> Why | None:
    """The pause or limit of a group that it waits at, if there is one."""
    for group in _groups(job):
        rule = standing.limits.rules.get(group, Rule())
        if rule.paused and group in standing.pauses:
            return _paused(group, standing.pauses[group])
        if rule.max_running is not None and standing.running[group] >= rule.max_running:
            return _full(job, group, rule.max_running, standing, line)
        if rule.per_minute is not None and standing.started[group] >= rule.per_minute:
            text = f"{_called(group)}: {rule.per_minute} have started in the last minute, and no more may; {line}."
            limit = Reached(kind=group[0], name=group[1], used=standing.started[group], most=rule.per_minute)
            return Why(reason="rate", text=text, since=job.gate_since, limit=limit, until=standing.frees_at.get(group))
    key: Group = ("key", job.concurrency_key)
    if job.concurrency_key and standing.running[key] >= job.concurrency_limit:
        return _full(job, key, job.concurrency_limit, standing, line)
    return None


def _full(job: Job, group: Group, most: int, standing: _Standing, line: str) -> Why:
    used = standing.running[group]
    text = f"{_called(group)}: {used} of {most} allowed are running; {line}."
    limit = Reached(kind=group[0], name=group[1], used=used, most=most)
    return Why(reason="limit", text=text, since=job.gate_since, blockers=standing.members(group), limit=limit)


def _called(group: Group) -> str:
    kind, name = group
    return "All jobs" if group == EVERYTHING else f"{'Concurrency key' if kind == 'key' else kind.capitalize()} {name}"


def _paused(group: Group, rule: GroupRule) -> Why:
    text = f"{_called(group)} {'are' if group == EVERYTHING else 'is'} paused by {rule.paused_by}"
    text += f": {rule.pause_reason}" if rule.pause_reason else ""
    assert rule.paused_at is not None  # noqa: S101  (only paused ones are read)
    return Why(reason="paused", text=f"{text}.", since=rule.paused_at)


def _by_capacity(job: Job, standing: _Standing, line: str) -> Why | None:
    """The slots or the resources that others hold; None when the job would fit now."""
    taken, most = len(standing.held), standing.limits.max_concurrent
    if taken >= most:
        limit = Reached(kind="slots", used=taken, most=most)
        text, blockers = f"{taken} of {most} slots are taken", standing.holders(lambda _attempt: True)
    else:
        used, all_of = standing.used, standing.limits.resources
        short = [
            (column, kind, f"it needs {needs:g} {name}, and {max(0, there - held):g} of {there:g} are free", held, there)
            for column, kind, name, needs, held, there in (
                ("memory_mb", "memory", "MB of memory", job.memory_mb, used.memory_mb, all_of.memory_mb),
                ("cpu_weight", "cpu", "of cpu weight", job.cpu_weight, used.cpu_weight, all_of.cpu_weight),
                ("disk_mb", "disk", "MB of disk", job.disk_mb, used.disk_mb, all_of.disk_mb),
            )
            if needs > there - held
        ]
        if not short:
            return None
        limit = Reached(kind=short[0][1], used=short[0][3], most=short[0][4])
        columns = [column for column, *_ in short]
        blockers = standing.holders(lambda attempt: any(getattr(attempt, column) for column in columns))
        text = " and ".join(said for _, _, said, _, _ in short)
    text = text[:1].upper() + text[1:]
    return Why(reason="capacity", text=f"{text}; {line}.", since=job.gate_since, blockers=blockers, limit=limit)
