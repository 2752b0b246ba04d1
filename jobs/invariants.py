"""What must hold of a job and all that is written about it, whatever broke. The fault suite asks the same, after every fault.

A `Life` is one job as plain rows of one moment. Each check yields sentences; `broken_in` says them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jobs.states import FINAL, LIVE_ATTEMPT, AttemptState, Gate, Status

Row = dict[str, Any]
_ENDS = {
    "finish": {AttemptState.SUCCEEDED},
    "fail": {AttemptState.FAILED, AttemptState.TIMED_OUT},
    "fall_back": {AttemptState.FAILED, AttemptState.TIMED_OUT},
    "lose": {AttemptState.LOST},
    "quarantine": {AttemptState.QUARANTINED},
    "interrupt": {AttemptState.INTERRUPTED},
    "ask": {AttemptState.INTERRUPTED},
    "withdraw": {AttemptState.CANCELLED},
    "cancel": {AttemptState.CANCELLED},
    "expire": {AttemptState.CANCELLED},
    "mend": {AttemptState.CANCELLED, AttemptState.LOST},
    "admit": {AttemptState.ADMITTED},
    "start": {AttemptState.RUNNING},
}
# Events that name an attempt and leave it as it is.
_NO_END = frozenset({"admit", "start", "cancel_requested"})


@dataclass(frozen=True, kw_only=True)
class Parent:
    """What a job depends on. `ended` is the id of the Event with which it first came to an end; None: it has not, or is gone."""

    id: str
    ended: int | None
    completed: bool
    met: bool
    status: str = ""
    unsettled: bool = False


@dataclass(frozen=True, kw_only=True)
class Life:
    """A job, its attempts and events by id, and its parents. `asks`: a question to it is open; `now` is the database's."""

    job: Row
    attempts: Sequence[Row]
    events: Sequence[Row]
    parents: Sequence[Parent] = ()
    asks: bool = False
    has_children: bool = False
    has_metrics: bool = True
    now: datetime | None = None


@dataclass(kw_only=True)
class Finding:
    """Something that does not hold. `mend` names what puts it right (jobs.doctor), where anything safely does."""

    rule: str
    subject: str
    text: str
    mend: str = ""
    target: str = field(default="", repr=False)
    mended: bool = False


def broken_in(life: Life, rules: Iterable[str] = ()) -> Iterator[Finding]:
    """Every sentence that does not hold of this job; of these rules only, if any are named."""
    for rule in rules or CHECKS:
        check, mend = CHECKS[rule]
        safe = mend if rule in _OF_ENDED or life.job["status"] not in FINAL else ""
        for text in check(life):
            yield Finding(rule=rule, subject=life.job["id"], text=text, mend=safe, target=life.job["id"])


# --- what the history says -----------------------------------------------------------------------------------------------
def _once(life: Life) -> Iterator[str]:
    finishes = sum(event["verb"] == "finish" for event in life.events)
    if finishes > 1:
        yield f"it was finished {finishes} times"


def _fenced(life: Life) -> Iterator[str]:
    """No row changes by a superseded attempt: each event names the attempt that was current then."""
    current: int | None = None
    ended: set[int] = set()
    for event in life.events:
        verb, attempt = event["verb"], event["attempt_id"]
        if verb == "admit":
            if current is not None:
                yield f"it was given attempt {attempt} while {current} was its current one"
            current = attempt
        elif verb == "start" and current is None and attempt not in ended:
            current = attempt  # a standard job, whose attempt begins running
        elif attempt is not None and attempt != current and verb != "mend":
            yield f"{verb} by attempt {attempt}, while {current} was current"
        if attempt in ended:
            yield f"{verb} by attempt {attempt}, which had ended"
        if attempt is not None and verb not in _NO_END:
            ended.add(attempt)
            current = None


def _in_order(life: Life) -> Iterator[str]:
    """A dependent starts after all it needs completed."""
    # It may be made to wait for others after an attempt that did not succeed.
    changed = max((event["id"] for event in life.events if event["verb"] == "depend"), default=0)
    starts = [event["id"] for event in life.events if event["verb"] == "start" and event["id"] >= changed]
    for parent in life.parents if starts else ():
        if parent.ended is None or parent.ended > min(starts):
            yield f"it began before {parent.id} had ended"
        if not parent.completed and life.job["dependency_policy"] != "run_anyway":
            yield f"it began although {parent.id} never completed"


def _cancelled(life: Life) -> Iterator[str]:
    """A noted cancel is never followed by a completion, unless somebody asked for the job again."""
    wished = False
    for event in life.events:
        wished = (wished or event["verb"] in {"cancel", "cancel_requested"}) and event["verb"] != "retry"
        if wished and event["after"] == Status.COMPLETED:
            yield "it completed after its cancel was acknowledged"


def counts_of(life: Life) -> dict[str, int]:
    """What the history says that the counters must be."""
    retries = losses = 0
    for event in life.events:
        match event["verb"]:
            case "retry":
                retries = losses = 0
            case "fall_back":
                retries = losses = 0
            case "release":
                losses = 0
            case "fail" if event["attempt_id"] is not None:
                retries, losses = retries + (event["after"] == Status.PENDING), 0
            case "lose" | "quarantine":
                losses += 1
            case "finish" | "interrupt" | "ask" | "cancel" if event["before"] == Status.RUNNING and event["attempt_id"] is not None:
                losses = 0
    return {"attempt_count": len(life.attempts), "retry_count": retries, "loss_count": losses}


def _counted(life: Life) -> Iterator[str]:
    counts = counts_of(life)
    for name, counted in counts.items():
        if life.job[name] != counted:
            yield f"{name} is {life.job[name]}, its history says {counted}"
    if counts["retry_count"] > life.job["max_retries"]:
        yield f"{counts['retry_count']} retries were spent of {life.job['max_retries']}"


def _numbered(life: Life) -> Iterator[str]:
    numbers = [attempt["number"] for attempt in life.attempts]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"its attempts are numbered {', '.join(map(str, numbers[:20]))}"


def _replayed(life: Life) -> Iterator[str]:
    """The event log replays to the current rows."""
    status = ""
    for event in life.events:
        if event["before"] != status:
            yield f"{event['verb']} came from {event['before'] or 'nothing'}, it was {status or 'nothing'}"
        status = event["after"]
    if status != life.job["status"]:
        yield f"it is {life.job['status']}, its events end at {status or 'nothing'}"
    last = {event["attempt_id"]: event["verb"] for event in life.events if event["verb"] != "cancel_requested"}
    for attempt in life.attempts:
        verb = last.pop(attempt["id"], None)
        if verb is None:
            yield f"attempt {attempt['id']} has no event"
        elif attempt["state"] not in _ENDS.get(verb, ()):
            yield f"attempt {attempt['id']} is {attempt['state']}, its last event is {verb}"
    last.pop(None, None)
    for attempt_id, verb in last.items():
        yield f"{verb} names attempt {attempt_id}, which is not there"


# --- whether it can go on ------------------------------------------------------------------------------------------------
def _held_together(life: Life) -> Iterator[str]:
    """A job and its current attempt say the same, and no other attempt holds a slot."""
    current = life.job["current_attempt_id"]
    live = {attempt["id"]: attempt["state"] for attempt in life.attempts if attempt["state"] in LIVE_ATTEMPT}
    for attempt, state in live.items():
        if attempt != current:
            yield f"attempt {attempt} is {state} and holds a slot, but is not its current one"
    fits = AttemptState.RUNNING if life.job["status"] == Status.RUNNING else AttemptState.ADMITTED
    if current is not None and live.get(current) != fits:
        yield f"it is {life.job['status']}, and its current attempt {current} is {live.get(current, 'not alive')}"


def _gated(life: Life) -> Iterator[str]:
    """The gate of a pending job is what its rows say: else it waits for ever, or starts too early."""
    gate = life.job["gate"]
    if life.job["status"] != Status.PENDING:
        return
    unmet = [parent.id for parent in life.parents if not parent.met]
    if gate == Gate.DEPENDENCIES and not unmet:
        yield "it waits for dependencies, and all of them are met"
    if gate in (Gate.OPEN, Gate.TIME, Gate.INPUT) and unmet:
        yield f"its gate is {gate}, although {unmet[0]} is not met"
    if gate == Gate.INPUT and not life.asks:
        yield "it waits for an answer, and nothing is asked"


def _told(life: Life) -> Iterator[str]:
    """A parent that has ended tells those who wait for it."""
    if life.job["status"] != Status.PENDING or life.job["gate"] != Gate.DEPENDENCIES:
        return
    for parent in life.parents:
        if not parent.met and parent.status in FINAL and not parent.unsettled:
            yield f"it waits for {parent.id}, which is {parent.status} and will not tell it"


def _known_as_parent(life: Life) -> Iterator[str]:
    if life.has_children and not life.job["has_dependents"]:
        yield "jobs depend on it, and it does not know"


def _asked_for(life: Life) -> Iterator[str]:
    """What running jobs hold is summed over their attempts."""
    for attempt in life.attempts:
        if attempt["state"] in LIVE_ATTEMPT:
            for name in ("memory_mb", "cpu_weight", "disk_mb"):
                if attempt[name] != life.job[name]:
                    yield f"attempt {attempt['id']} holds {name} {attempt[name]:g}, the job needs {life.job[name]:g}"


def _leased(life: Life) -> Iterator[str]:
    """Somebody loses an attempt whose lease is over. Ten seconds on top: the dispatcher may just have been started."""
    for attempt in life.attempts:
        until = attempt["lease_until"]
        if attempt["state"] == AttemptState.RUNNING and life.now and until and (life.now - until).total_seconds() > 10:
            yield f"the lease of attempt {attempt['id']} is over since {until:%Y-%m-%d %H:%M:%S} UTC: does a dispatcher run?"


def _in_line(life: Life) -> Iterator[str]:
    """A head start is never negative, so nobody stands behind the moment of its own submission."""
    if life.job["status"] == Status.PENDING and life.job["rank"] > life.job["created_at"].timestamp() * 1_000_000 + 1_000_000:
        yield "its rank is later than its submission: it is passed by those that came after it"


def _complete(life: Life) -> Iterator[str]:
    if life.job["status"] == Status.COMPLETED and not life.job["has_result"]:
        yield "it is completed and has no result"
    if life.job["status"] == Status.COMPLETED and not life.has_metrics:
        yield "it is completed and has no metrics"


Check = Callable[[Life], Iterator[str]]
# rule -> (its check, what mends it).
CHECKS: dict[str, tuple[Check, str]] = {
    "once": (_once, ""),
    "fenced": (_fenced, ""),
    "order": (_in_order, ""),
    "cancelled": (_cancelled, ""),
    "counted": (_counted, "recount"),
    "numbered": (_numbered, ""),
    "replayed": (_replayed, ""),
    "attempt": (_held_together, "mend"),
    "gate": (_gated, "regate"),
    "settled": (_told, "resettle"),
    "parent": (_known_as_parent, "resettle"),
    "needs": (_asked_for, "recount"),
    "lease": (_leased, "rescue"),
    "rank": (_in_line, "put_in_line"),
    "complete": (_complete, ""),
}
# Also of a job that has ended: neither its status nor its result is touched by these.
_OF_ENDED = frozenset({"attempt", "parent"})
# Told by the history alone; they hold at any moment also where nothing runs.
HISTORY = ("once", "fenced", "order", "cancelled", "counted", "numbered", "replayed")
