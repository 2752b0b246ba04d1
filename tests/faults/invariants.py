"""What must hold whatever broke: one checker, run over the rows and over the history kept outside the database.

The numbers are those of the promise (docs/guarantees.md). 8 needs a client's own record and is checked where sockets are;
12 needs the processes and is checked where they are stopped.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.history import Entry

Row = dict[str, Any]
Ask = Callable[[str], list[Row]]
FINAL = {"completed", "failed", "cancelled"}
ENDS = {
    "finish": "succeeded",
    "lose": "lost",
    "quarantine": "quarantined",
    "interrupt": "interrupted",
    "withdraw": "cancelled",
    "cancel": "cancelled",
}


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
    ended = {entry["job"] for entry in seen.noted("ended")}
    for job in seen.jobs:
        finishes = [event for event in seen.events_of[job["id"]] if event["verb"] == "finish"]
        if len(finishes) > 1:
            yield f"{job['id']} was finished {len(finishes)} times"
        told = job["id"] in ended and job["result"] is not None and job["result"].isdigit()
        if finishes and told and finishes[-1]["attempt_id"] != int(job["result"]):
            yield f"{job['id']} was finished by {finishes[-1]['attempt_id']} with what attempt {job['result']} returned"


def _fenced(seen: Facts) -> Iterator[str]:
    """4: no row changes by a superseded attempt: each event names the attempt that was current then."""
    for job, events in seen.events_of.items():
        current: int | None = None
        ended: set[int] = set()
        for event in events:
            verb, attempt = event["verb"], event["attempt_id"]
            if verb == "admit":
                if current is not None:
                    yield f"{job} was given attempt {attempt} while {current} was its current one"
                current = attempt
            elif attempt is not None and attempt != current:
                yield f"{job}: {verb} by attempt {attempt}, while {current} was current"
            if attempt in ended:
                yield f"{job}: {verb} by attempt {attempt}, which had ended"
            if attempt is not None and verb not in {"admit", "start", "cancel_requested"}:
                ended.add(attempt)
                current = None


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


def _in_order(seen: Facts) -> Iterator[str]:
    """6: a dependent starts after all it needs completed."""
    finished: dict[str, list[int]] = defaultdict(list)
    for event in seen.events:
        if event["after"] in FINAL and event["before"] not in FINAL:
            finished[event["job_id"]].append(event["id"])
    needs = {job["id"]: job["dependency_policy"] for job in seen.jobs}
    for dependency in seen.dependencies:
        starts = [event["id"] for event in seen.events_of[dependency["job_id"]] if event["verb"] == "start"]
        if not starts:
            continue
        ends = finished[dependency["parent_id"]]
        if not ends or min(ends) > min(starts):
            yield f"{dependency['job_id']} began before {dependency['parent_id']} had ended"
        completed = any(event["after"] == "completed" for event in seen.events_of[dependency["parent_id"]])
        if not completed and needs[dependency["job_id"]] != "run_anyway":
            yield f"{dependency['job_id']} began although {dependency['parent_id']} never completed"


def _cancelled(seen: Facts) -> Iterator[str]:
    """7: an acknowledged cancel is never followed by a later completion, unless somebody asked for the job again."""
    for job, events in seen.events_of.items():
        wished = False
        for event in events:
            wished = (wished or event["verb"] in {"cancel", "cancel_requested"}) and event["verb"] != "retry"
            if wished and event["after"] == "completed":
                yield f"{job} completed after its cancel was acknowledged"


def _counted(seen: Facts) -> Iterator[str]:
    """9: attempts, retries and losses are counted right."""
    for job in seen.jobs:
        retries = losses = 0
        for event in seen.events_of[job["id"]]:
            match event["verb"]:
                case "retry":
                    retries = losses = 0
                case "release":
                    losses = 0
                case "fail" if event["attempt_id"] is not None:
                    retries, losses = retries + (event["after"] == "pending"), 0
                case "lose" | "quarantine":
                    losses += 1
                case "finish" | "interrupt" | "cancel" if event["attempt_id"] is not None and event["before"] == "running":
                    losses = 0
        attempts = seen.attempts_of[job["id"]]
        if [attempt["number"] for attempt in attempts] != list(range(1, len(attempts) + 1)):
            yield f"{job['id']}: its attempts are numbered {[attempt['number'] for attempt in attempts]}"
        for name, counted in (("attempt_count", len(attempts)), ("retry_count", retries), ("loss_count", losses)):
            if job[name] != counted:
                yield f"{job['id']}: {name} is {job[name]}, its events say {counted}"
        if retries > job["max_retries"]:
            yield f"{job['id']}: {retries} retries were spent of {job['max_retries']}"


def _replayed(seen: Facts) -> Iterator[str]:
    """10: the event log replays to the current rows."""
    for job in seen.jobs:
        status = ""
        for event in seen.events_of[job["id"]]:
            if event["before"] != status:
                yield f"{job['id']}: {event['verb']} came from {event['before'] or 'nothing'}, it was {status or 'nothing'}"
            status = event["after"]
        if status != job["status"]:
            yield f"{job['id']} is {job['status']}, its events end at {status}"
    last = {event["attempt_id"]: event for event in seen.events if event["verb"] != "cancel_requested"}
    for attempt in seen.attempts:
        said = last.get(attempt["id"])
        if said is None:
            yield f"attempt {attempt['id']} has no event"
        elif attempt["state"] not in _states_after(said):
            yield f"attempt {attempt['id']} is {attempt['state']}, its last event is {said['verb']}"


def _states_after(event: Row) -> Iterable[str]:
    match event["verb"]:
        case "admit":
            return {"admitted"}
        case "start":
            return {"running"}
        case "fail":
            return {"failed", "timed_out"}
        case verb:
            return {ENDS.get(verb, "")}


CHECKS: dict[int, Callable[[Facts], Iterator[str]]] = {
    1: _kept,
    2: _asked_for,
    3: _once,
    4: _fenced,
    5: _limited,
    6: _in_order,
    7: _cancelled,
    9: _counted,
    10: _replayed,
}
