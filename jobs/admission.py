"""Which jobs may start now: decided purely, from rows read in a fixed number of queries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson
from django.db import connection

from jobs import workers
from jobs.census import census
from jobs.limits import Limits, Resources
from jobs.room import EVERYTHING, PATIENCE, Candidate, Room, choose, groups_of, with_demand

# How many ready jobs one look takes in: the least of these that is twice the free slots. Few sizes, since each is a statement.
LOOK_SIZES = (16, 64, 200)
# Looks a round may take: each one shuts the groups that the one before has filled.
LOOKS = 6


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What a round has to do, read at once: so an idle round is one query."""

    unsettled: bool
    due: bool
    late: bool
    ready: bool
    live: int  # attempts that hold a slot
    waiting: int  # of these, not started yet
    keyed: bool  # does one of them hold a concurrency key?
    external: bool  # are there tools that programs outside run?
    used: Resources
    config: str  # the version of the configuration's row; "" before the first start has made it


# Ready is asked for by the first in line, as EXISTS may look for one by reading the table.
_OUTLOOK = """
SELECT EXISTS (SELECT 1 FROM jobs_job WHERE unsettled),
    EXISTS (SELECT 1 FROM jobs_job WHERE status = 'pending' AND gate = 'time' AND run_at <= now()),
    EXISTS (SELECT 1 FROM jobs_job WHERE status = 'pending' AND expires_at <= now()),
    (SELECT id FROM jobs_job
        WHERE status = 'pending' AND gate = 'open' AND current_attempt_id IS NULL AND kind = 'task'
        ORDER BY rank, id LIMIT 1) IS NOT NULL,
    COALESCE((SELECT xmin::text || ctid::text FROM jobs_queueconfig), ''), EXISTS (SELECT 1 FROM jobs_externaltool),
    count(*), count(*) FILTER (WHERE state = 'admitted'), COALESCE(bool_or(concurrency_key <> ''), FALSE),
    COALESCE(sum(memory_mb), 0)::bigint, COALESCE(sum(cpu_weight), 0), COALESCE(sum(disk_mb), 0)::bigint
FROM jobs_attempt WHERE state IN ('admitted', 'running') AND queue <> 'standard'
"""


def outlook() -> Outlook:
    with connection.cursor() as cursor:
        cursor.execute(_OUTLOOK)
        unsettled, due, late, ready, config, external, live, waiting, keyed, memory, cpu, disk = cursor.fetchone()
    used = Resources(memory_mb=memory, cpu_weight=cpu, disk_mb=disk)
    return Outlook(
        unsettled=unsettled,
        due=due,
        late=late,
        ready=ready,
        live=live,
        waiting=waiting,
        keyed=keyed,
        external=external,
        used=used,
        config=config,
    )


# Served by the partial index job_ready, read from its beginning until enough are found. A job of a group that is shut, or one
# that others may still pass, is not even looked at, so that it cannot fill the look. LIMIT is written out, because a plan for
# any limit might sort.
_CANDIDATES = """
SELECT id, memory_mb, cpu_weight, disk_mb, EXTRACT(EPOCH FROM now() - gate_since)::float8 AS waited,
    tool, operation, project, concurrency_key, queue, concurrency_limit
FROM jobs_job
WHERE status = 'pending' AND gate = 'open' AND current_attempt_id IS NULL AND kind = 'task'
  AND ((memory_mb <= %(memory)s AND cpu_weight <= %(cpu)s AND disk_mb <= %(disk)s)
       OR gate_since < now() - make_interval(secs => %(patience)s))
  AND tool <> ALL(%(tool)s) AND operation <> ALL(%(operation)s) AND project <> ALL(%(project)s) AND queue <> ALL(%(queue)s)
  AND (concurrency_key = '' OR (concurrency_key <> ALL(%(key)s)
       AND COALESCE((%(holders)s::jsonb ->> concurrency_key)::int, 0) < concurrency_limit))
  AND id <> ALL(%(seen)s)
ORDER BY rank, id LIMIT {most}
"""


def candidates(room: Room, most: int, seen: Iterable[str] = ()) -> list[Candidate]:
    """The first `most` ready jobs by rank that could start with this room, or for which room is to be kept."""
    shut: dict[str, list[str]] = {"tool": [], "operation": [], "project": [], "key": [], "queue": []}
    for kind, name in room.rules:
        if kind in shut and room.is_shut((kind, name)):
            shut[kind].append(name)
    holders = {name: number for (kind, name), number in room.running.items() if kind == "key" and number > 0}
    params: dict[str, Any] = shut | {
        "memory": max(0, room.resources.memory_mb),
        "cpu": max(0, room.resources.cpu_weight),
        "disk": max(0, room.resources.disk_mb),
        "patience": PATIENCE,
        "holders": orjson.dumps(holders).decode(),
        "seen": list(seen),
    }
    with connection.cursor() as cursor:
        cursor.execute(_CANDIDATES.format(most=most), params)
        return [
            Candidate(
                id=job,
                needs=Resources(memory_mb=memory, cpu_weight=cpu, disk_mb=disk),
                waited=waited,
                groups=groups_of(tool, operation, project, key, queue),
                key=key,
                key_limit=key_limit,
            )
            for job, memory, cpu, disk, waited, tool, operation, project, key, queue, key_limit in cursor.fetchall()
        ]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """`ids` in order; `rated` are those that count for a limit of starts a minute. `more`: another round may find more."""

    ids: list[str]
    rated: list[str]
    more: bool = False


def next_jobs(limits: Limits, now: Outlook) -> Choice:
    """The jobs that may start now."""
    rules = with_demand(limits.rules, workers.demand()) if now.external else limits.rules
    room = Room(slots=limits.max_concurrent - now.live, resources=limits.resources.less(now.used), rules=rules)
    choice = Choice(ids=[], rated=[])
    if room.slots <= 0:
        return choice
    if rules or now.keyed:
        room.running, room.started = census()
    rates = {group for group, rule in limits.rules.items() if rule.per_minute is not None}
    seen: list[str] = []
    most = next((size for size in LOOK_SIZES if size >= 2 * room.slots), LOOK_SIZES[-1])
    for _ in range(LOOKS):
        if room.is_shut(EVERYTHING) or room.slots <= 0:
            return choice
        found = candidates(room, most, seen)
        chosen = choose(found, room)
        choice.ids.extend(chosen)
        if rates:
            admitted = set(chosen)
            choice.rated.extend(job.id for job in found if job.id in admitted and not rates.isdisjoint(job.groups))
        if len(found) < most:
            return choice
        seen.extend(job.id for job in found)
        most = LOOK_SIZES[-1]
    return Choice(ids=choice.ids, rated=choice.rated, more=bool(choice.ids))
