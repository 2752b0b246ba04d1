"""Recorded workflows in WfCommons' WfFormat (1.5 and before): read, checked, and bounded."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any


class BrokenWorkflow(Exception):
    """The file is not a workflow; the text says what is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One recorded task: seconds, bytes at its peak, percent of a core; what was not recorded is 0."""

    id: str
    name: str
    seconds: float
    memory_bytes: float
    cpu_percent: float
    parents: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What no schedule beats (`lb2`) and what every greedy one keeps (`graham`); seconds."""

    total: float
    critical_path: float
    lb2: float
    graham: float


def read(path: Path) -> list[Task]:
    """The tasks in topological order. Raises `BrokenWorkflow`."""
    try:
        data = path.read_bytes()
        document = json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    except (OSError, ValueError, EOFError, zlib.error, RecursionError) as error:
        raise BrokenWorkflow(f"{path}: cannot be read as JSON: {error}") from None
    try:
        return _ordered({task.id: task for task in _tasks(document["workflow"])})
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BrokenWorkflow(f"{path}: is not in WfFormat: {type(error).__name__} {error}") from None


def _tasks(workflow: dict[str, Any]) -> Iterable[Task]:
    if "specification" in workflow:  # 1.5: the graph and what was measured stand apart
        measured = {row["id"]: row for row in workflow.get("execution", {}).get("tasks", [])}
        rows = [row | measured.get(row["id"], {}) for row in workflow["specification"]["tasks"]]
    else:
        rows = workflow.get("tasks") or workflow["jobs"]
    keys = [row.get("id") or row["name"] for row in rows]
    parents = {key: set(row.get("parents") or ()) & set(keys) for key, row in zip(keys, rows, strict=True)}
    for key, row in zip(keys, rows, strict=True):
        for child in row.get("children") or ():
            if child in parents:
                parents[child].add(key)
    for key, row in zip(keys, rows, strict=True):
        yield Task(
            id=key,
            name=str(row.get("name") or key),
            seconds=_number(row, "runtimeInSeconds", "runtime"),
            memory_bytes=_number(row, "memoryInBytes", "memory"),
            cpu_percent=_number(row, "avgCPU", "avgCPU"),
            parents=frozenset(parents[key]),
        )


def _number(row: Mapping[str, Any], name: str, old_name: str) -> float:
    return max(0.0, float(row.get(name) or row.get(old_name) or 0))


def _ordered(tasks: dict[str, Task]) -> list[Task]:
    try:
        order = TopologicalSorter({key: sorted(task.parents) for key, task in tasks.items()}).static_order()
        return [tasks[key] for key in order]
    except CycleError as error:
        raise ValueError(f"its tasks form a cycle: {' -> '.join(error.args[1][:6])}") from None


def bounds(tasks: list[Task], slots: int) -> Bounds:
    """Bounds on the makespan on `slots` equal slots; `tasks` in topological order.

    lb2 sharpens max(critical path, total / slots): for each head a and tail b, the work of all tasks that cannot start before a
    and are followed by at least b must fit in between. Graham: R. L. Graham, "Bounds on multiprocessing timing anomalies", SIAM J.
    Applied Mathematics 17 (1969).
    """
    times = {task.id: task.seconds for task in tasks}
    head: dict[str, float] = {}
    tail = dict.fromkeys(times, 0.0)
    for task in tasks:
        head[task.id] = max((head[p] + times[p] for p in task.parents), default=0.0)
    for task in reversed(tasks):
        for parent in task.parents:
            tail[parent] = max(tail[parent], times[task.id] + tail[task.id])
    total = sum(times.values())
    path = max((head[key] + times[key] for key in times), default=0.0)
    return Bounds(
        total=total,
        critical_path=path,
        lb2=max(path, total / slots, _work_between(head, tail, times, slots)),
        graham=total / slots + (1 - 1 / slots) * path,
    )


def _work_between(head: Mapping[str, float], tail: Mapping[str, float], times: Mapping[str, float], slots: int) -> float:
    late_first = sorted(((head[key], tail[key], seconds) for key, seconds in times.items() if seconds > 0), reverse=True)
    best = 0.0
    for least_tail in {t for _, t, _ in late_first}:
        work = 0.0
        for start, end, seconds in late_first:
            if end >= least_tail:
                work += seconds
                best = max(best, start + work / slots + least_tail)
    return best
