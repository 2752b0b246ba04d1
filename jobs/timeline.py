"""How a job has spent its time: each stretch in one state, from submit to now, out of its attempts and the moves by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from jobs.models import Attempt, Event, Job
from jobs.states import AttemptState, Gate


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """`state`: dependencies, time, backoff, answer, paused, capacity, starting, running or ended. `until` None: it still is so."""

    state: str
    since: datetime
    until: datetime | None = None

    def seconds(self, now: datetime) -> float:
        return max(0.0, ((self.until or now) - self.since).total_seconds())


# What a pending job is doing, by what keeps it.
GATES = {
    Gate.DEPENDENCIES: "dependencies",
    Gate.TIME: "time",
    Gate.PAUSED: "paused",
    Gate.OPEN: "capacity",
    Gate.QUARANTINED: "paused",
    Gate.INPUT: "answer",
}


class _Path:
    """Stretches, one after the other without gaps."""

    def __init__(self, since: datetime) -> None:
        self.made: list[Stretch] = []
        self.at = since

    def go(self, state: str, until: datetime | None) -> None:
        """In `state` until then; a stretch of no length is none."""
        if until is None or until > self.at:
            self.made.append(Stretch(state=state, since=self.at, until=until))
            self.at = until or self.at


def stretches(job: Job, attempts: Sequence[Attempt], events: Sequence[Event], met_at: datetime | None) -> list[Stretch]:
    """In order. `met_at`: when the last of its dependencies was met, None without any."""
    path, held = _Path(job.created_at), "dependencies" if met_at else "time"
    # The attempt that asked ended in the transaction of this event.
    asked = {event.at for event in events if event.verb == "ask"}
    for attempt in attempts:
        _wait(path, held, _ready(attempt, met_at if held == "dependencies" else None), attempt.admitted_at, events)
        path.go("starting", attempt.started_at or attempt.finished_at)
        if attempt.started_at is not None:
            path.go("running", attempt.finished_at)
        held = "answer" if attempt.finished_at in asked else "backoff"
    if job.finished_at is not None:
        # What succeeded waited for nothing more; its end may be written a moment after the attempt's.
        if not attempts or attempts[-1].state != AttemptState.SUCCEEDED:
            _wait(path, held, None, job.finished_at, events)
    elif job.current_attempt_id is None:
        state = GATES[Gate(job.gate)]
        _wait(path, held, job.gate_since if state == "capacity" else None, max(path.at, job.gate_since), events)
        path.go("backoff" if state == "time" and attempts else state, None)
    return path.made


def _ready(attempt: Attempt, met_at: datetime | None) -> datetime | None:
    return attempt.ready_at or met_at


def _wait(path: _Path, held: str, ready: datetime | None, until: datetime, events: Sequence[Event]) -> None:
    """To the next slot: ended until it was tried again, held back, paused perhaps, then in line."""
    again = next((event.at for event in events if event.verb == "retry" and path.at < event.at <= until), None)
    if again is not None:
        path.go("ended", again)
    for begun, over in _pauses(events):
        if path.at <= begun < until:
            path.go(held if ready is None or begun < ready else "capacity", begun)
            path.go("paused", min(over, until))
    if ready is not None:
        path.go(held, min(ready, until))
    path.go("capacity" if ready is not None or held == "time" else held, until)


def _pauses(events: Sequence[Event]) -> list[tuple[datetime, datetime]]:
    """Pairs of pause and what came next; one that is not over yet is what the job's gate says."""
    found: list[tuple[datetime, datetime]] = []
    begun: datetime | None = None
    for event in events:
        if begun is not None:
            found.append((begun, event.at))
        begun = event.at if event.verb == "pause" else None
    return found
