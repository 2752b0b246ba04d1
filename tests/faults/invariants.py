"""What must hold whatever broke: one checker, run over the rows and over the history kept outside the database.

The numbers are those of the promise (docs/guarantees.md). 8 needs a client's own record and is checked where sockets are;
12 needs the processes and is checked where they are stopped.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobs.invariants import Life, Parent, broken_in
from jobs.states import FINAL
from tests.faults.history import Entry

Row = dict[str, Any]
Ask = Callable[[str], list[Row]]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The rows of one moment, and what was noted outside."""

    jobs: Sequence[Row]
    attempts: Sequence[Row]
    events: Sequence[Row]
    dependencies: Sequence[Row]
    history: Sequence[Entry] = ()
    slots: int = 10**9
    settled: bool = True  # everything should have come to its end
    events_of: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    attempts_of: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for event in self.events:
            self.events_of[event["job_id"]].append(event)
        for attempt in self.attempts:
            self.attempts_of[attempt["job_id"]].append(attempt)

    def noted(self, *what: str) -> Iterator[Entry]:
        return (entry for entry in self.history if entry["what"] in what)


def facts(ask: Ask, **rest: Any) -> Facts:
    """Read by `ask`, a function that runs one SELECT."""
    return Facts(
        jobs=ask(
            "SELECT id, status, gate, task_id, current_attempt_id, attempt_count, retry_count, loss_count, max_retries, started_at,"
            " finished_at, cancel_requested_at, dependency_policy,"
            " result -> 'structuredContent' ->> 'result' AS result FROM jobs_job"
        ),
        attempts=ask("SELECT id, job_id, number, state, admitted_at, started_at, finished_at FROM jobs_attempt ORDER BY id"),
        events=ask("SELECT id, job_id, attempt_id, verb, before, after, at FROM jobs_event ORDER BY id"),
        dependencies=ask("SELECT job_id, parent_id, met_at FROM jobs_dependency"),
        **rest,
    )


def broken(seen: Facts) -> list[str]:
    """Every sentence that does not hold, in words; empty when all is well."""
    return [f"{number}: {what}" for number, check in CHECKS.items() for what in check(seen)]


def _kept(seen: Facts) -> Iterator[str]:
    """1: every acknowledged submit is in the database, once, and reaches one final state; or is held for a person."""
    status = {job["id"]: job["status"] for job in seen.jobs}
    held = {job["id"] for job in seen.jobs if job["gate"] == "quarantined"}
    of_key = Counter(job["task_id"] for job in seen.jobs if job["task_id"])
    for entry in seen.noted("acknowledged"):
        if entry["job"] not in status:
            yield f"{entry['job']} was acknowledged and is lost"
    for key, number in of_key.items():
        if number > 1:
            yield f"key {key} made {number} jobs"
    if seen.settled:
        yield from (f"{job} is stuck: {state}" for job, state in status.items() if state not in FINAL and job not in held)


def _asked_for(seen: Facts) -> Iterator[str]:
    """2: nothing runs that was not submitted."""
    known = {job["id"] for job in seen.jobs}
    attempts = {(attempt["job_id"], attempt["id"]) for attempt in seen.attempts}
    for entry in seen.noted("started"):
        if entry["job"] not in known:
            yield f"{entry['job']} ran and was never submitted"
        elif (entry["job"], entry["attempt"]) not in attempts:
            yield f"{entry['job']} ran by the unknown attempt {entry['attempt']}"
    for attempt, number in Counter(entry["attempt"] for entry in seen.noted("started")).items():
        if number > 1:
            yield f"attempt {attempt} was started {number} times"


def _once(seen: Facts) -> Iterator[str]:
    """3: at most one accepted finish a job, by the then current attempt."""
    yield from _of_each_job(seen, "once")
    ended = {entry["job"] for entry in seen.noted("ended")}
    for job in seen.jobs:
        finishes = [event for event in seen.events_of[job["id"]] if event["verb"] == "finish"]
        told = job["id"] in ended and job["result"] is not None and job["result"].isdigit()
        if finishes and told and finishes[-1]["attempt_id"] != int(job["result"]):
            yield f"{job['id']} was finished by {finishes[-1]['attempt_id']} with what attempt {job['result']} returned"


def _limited(seen: Facts) -> Iterator[str]:
    """5: running never exceeds the limit."""
    moves = [(a["admitted_at"], 1, a["id"]) for a in seen.attempts]
    moves += [(a["finished_at"], -1, a["id"]) for a in seen.attempts if a["finished_at"] is not None]
    now = 0
    for at, step, attempt in sorted(moves, key=lambda move: move[:2]):
        now += step
        if now > seen.slots:
            yield f"{now} held a slot of {seen.slots} at {at}, when attempt {attempt} was admitted"
            return


def _of_each_job(seen: Facts, *rules: str) -> Iterator[str]:
    """What the product itself holds every job against (jobs.invariants)."""
    first_end: dict[str, int] = {}
    for event in seen.events:
        if event["after"] in FINAL and event["before"] not in FINAL:
            first_end.setdefault(event["job_id"], event["id"])
    completed = {event["job_id"] for event in seen.events if event["after"] == "completed"}
    parents: dict[str, list[Parent]] = defaultdict(list)
    for row in seen.dependencies:
        parent = row["parent_id"]
        parents[row["job_id"]].append(
            Parent(id=parent, ended=first_end.get(parent), completed=parent in completed, met=row["met_at"] is not None)
        )
    for job in seen.jobs:
        of = job["id"]
        life = Life(job=job, attempts=seen.attempts_of[of], events=seen.events_of[of], parents=parents[of])
        yield from (f"{of}: {finding.text}" for finding in broken_in(life, rules))


CHECKS: dict[int, Callable[[Facts], Iterator[str]]] = {
    1: _kept,
    2: _asked_for,
    3: _once,
    4: lambda seen: _of_each_job(seen, "fenced"),
    5: _limited,
    6: lambda seen: _of_each_job(seen, "order"),
    7: lambda seen: _of_each_job(seen, "cancelled"),
    9: lambda seen: _of_each_job(seen, "counted", "numbered"),
    10: lambda seen: _of_each_job(seen, "replayed", "attempt"),
}
