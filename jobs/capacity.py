"""Would more slots help, and until when? Said only where the measured rates carry it."""

from __future__ import annotations

import math
from dataclasses import dataclass

# Over this long a time are rates measured (seconds), and with fewer ends than this nothing is said.
WINDOW, ENOUGH = 900, 30
# A backlog that is gone sooner needs no advice; what takes longer than this is no forecast. Seconds.
SOON, FAR = 120.0, 12 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What was measured in the window. `ready` is now; `slots` is how many may run, `processes` how many could."""

    ready: int
    arrived: int
    ended: int
    seconds: float
    busy: float  # slots taken, on average over the window
    slots: int
    processes: int
    workers: int


@dataclass(frozen=True, kw_only=True)
class Advice:
    """`seconds` until the backlog is gone as things are; None when it does not shrink. `more` of `what` would need `then`."""

    seconds: float | None
    what: str = ""
    more: int = 0
    then: float | None = None


def advise(rates: Rates) -> Advice | None:
    """None: nothing waits, or too little was measured to say anything."""
    if rates.ready == 0 or rates.ended < ENOUGH or rates.busy < 0.5 or rates.seconds <= 0:
        return None
    each = rates.ended / rates.seconds / rates.busy  # jobs a second that one slot ends
    arrive = rates.arrived / rates.seconds
    now = _clears(rates.ready, each * rates.busy - arrive)
    full = min(rates.slots, rates.processes)
    # Slots that stand empty while jobs wait: memory, a group's limit or a pause holds them, and more slots would not help.
    if (now is not None and now < SOON) or rates.busy < 0.9 * full:
        return Advice(seconds=now)
    by_workers = rates.processes < rates.slots and rates.workers > 0
    size = max(1, rates.processes // rates.workers) if by_workers else 1
    most = (rates.slots - rates.processes) // size if by_workers else rates.processes - rates.slots
    for more in range(1, min(max(most, 0), 8) + 1):
        then = _clears(rates.ready, each * (rates.busy + more * size) - arrive)
        if then is not None and then < FAR and (now is None or then < now * 0.75):
            return Advice(seconds=now, what="worker" if by_workers else "slot", more=more, then=then)
    return Advice(seconds=now)


def _clears(ready: int, shrinks: float) -> float | None:
    seconds = ready / shrinks if shrinks > 0 else math.inf
    return seconds if seconds < 10 * FAR else None
