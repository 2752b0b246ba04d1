"""A batch or project as a graph: its jobs in levels, what depends on what, and the path that takes longest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from jobs.groups import Kind, members
from jobs.sight import Sight

# Jobs that are drawn one by one; of more, the stages.
MOST_DRAWN = 1000
# A batch is read as a whole where it can be. A project goes on for ever: its newest jobs.
MOST_READ: dict[Kind, int] = {"batch": 20_000, "project": 1000}
MOST_BARS = 2000


@dataclass(frozen=True, kw_only=True)
class Task:
    """A job in the graph. `seconds` is how long it ran, or has run; else its estimate, 0 where there is none."""

    id: str
    tool: str
    status: str
    level: int
    seconds: float
    version: int
    tick: int


@dataclass(frozen=True, kw_only=True)
class Workflow:
    """`critical` is the longest chain by time. `whole` is False where there are more jobs than are read: these are the newest."""

    tasks: list[Task]
    edges: list[tuple[str, str]]
    critical: list[str]
    whole: bool


@dataclass(frozen=True, kw_only=True)
class Run:
    """One attempt on a worker's line."""

    job: str
    worker: str
    state: str
    began: datetime
    ended: datetime | None


def read(kind: Kind, name: str, sight: Sight, now: datetime) -> Workflow:
    """Two queries."""
    columns = ("id", "tool", "status", "started_at", "finished_at", "estimated_ms", "version", "progress_tick")
    newest = list(members(kind, name, sight).order_by("-created_at", "-id").values_list(*columns)[: MOST_READ[kind] + 1])
    rows = newest[: MOST_READ[kind]][::-1]
    ids = {row[0] for row in rows}
    edges = [(parent, child) for parent, child in _fetched(_EDGES, list(ids)) if parent in ids]
    parents: defaultdict[str, list[str]] = defaultdict(list)
    for parent, child in edges:
        parents[child].append(parent)
    order = _in_order(ids, edges)
    level = _levels(order, parents)
    tasks = [
        Task(
            id=job,
            tool=tool,
            status=status,
            level=level[job],
            seconds=_seconds(began, ended, estimate, now),
            version=version,
            tick=tick,
        )
        for job, tool, status, began, ended, estimate, version, tick in rows
    ]
    critical = _longest(order, parents, {task.id: task.seconds for task in tasks})
    return Workflow(tasks=tasks, edges=edges, critical=critical, whole=len(newest) == len(rows))


def runs(tasks: Sequence[Task]) -> list[Run]:
    """Who ran what of these when, in order; the newest where there are very many. One query."""
    names = ("job", "worker", "state", "began", "ended")
    return [Run(**dict(zip(names, row, strict=True))) for row in reversed(_fetched(_RUNS, [task.id for task in tasks]))]


# Ids as one array: as thousands of parameters they would cost more to read than to look up.
_EDGES = "SELECT parent_id, job_id FROM jobs_dependency WHERE job_id = ANY(%s)"
_RUNS = f"""
SELECT job_id, worker, state, started_at, finished_at FROM jobs_attempt
WHERE job_id = ANY(%s) AND started_at IS NOT NULL ORDER BY started_at DESC LIMIT {MOST_BARS}
"""  # noqa: S608  (a number of this module)


def _fetched(sql: str, ids: list[str]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, [ids])
        return list(cursor.fetchall())


def _seconds(began: datetime | None, ended: datetime | None, estimate_ms: int | None, now: datetime) -> float:
    if began is None:
        return (estimate_ms or 0) / 1000
    return max(0.0, ((ended or now) - began).total_seconds())


def _in_order(ids: set[str], edges: Sequence[tuple[str, str]]) -> list[str]:
    """Parents before children; submit sees to it that there is no cycle."""
    waits, children = dict.fromkeys(sorted(ids), 0), defaultdict(list)
    for parent, child in edges:
        waits[child] += 1
        children[parent].append(child)
    ready = [job for job, number in waits.items() if number == 0]
    for job in ready:
        for child in children[job]:
            waits[child] -= 1
            if waits[child] == 0:
                ready.append(child)
    return ready


def _levels(order: Sequence[str], parents: Mapping[str, Sequence[str]]) -> dict[str, int]:
    level: dict[str, int] = {}
    for job in order:
        level[job] = max((level[parent] + 1 for parent in parents.get(job, ())), default=0)
    return level


def _longest(order: Sequence[str], parents: Mapping[str, Sequence[str]], seconds: Mapping[str, float]) -> list[str]:
    best: dict[str, tuple[float, int, str]] = {}
    for job in order:
        time, length, before = max(((best[p][0], best[p][1], p) for p in parents.get(job, ())), default=(0.0, 0, ""))
        best[job] = (time + seconds[job], length + 1, before)
    last = max(best, key=lambda job: best[job][:2], default="")
    path = []
    while last:
        path.append(last)
        last = best[last][2]
    return path[::-1] if len(path) > 1 else []
