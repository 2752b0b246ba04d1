"""The end of the event log, read once for a whole process, and resumed exactly where a reader left off.

Ids of events are given before they are committed, so a lower one may become visible after a higher one. A position therefore
names the highest id seen and the ids below it that were missing then: "120~117,119".
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db.models import Max, Q, QuerySet

from jobs.errors import InvalidRequest
from jobs.listing import PAYLOADS
from jobs.models import Event
from jobs.sight import EVERYTHING, Sight

PAGE = 500
# An id that has not appeared for so long never will: its transaction was rolled back. Seconds.
GIVEN_UP_AFTER = 10.0
# So far below the highest id a beginner looks for ids that are on their way.
LOOK_BACK = 200
MOST_MISSING = 500
_COLUMNS = {"job": "job_id", "batch": "job__batch", "project": "job__project"}
_POSITION = re.compile(r"(\d{1,18})(?:~(\d{1,18}(?:,\d{1,18}){0,499}))?")


@dataclass(kw_only=True)
class Position:
    """Up to which event somebody has read."""

    high: int = 0
    missing: dict[int, float] = field(default_factory=dict)  # id -> when it was first missed, by the monotonic clock

    def __str__(self) -> str:
        return f"{self.high}~{','.join(map(str, sorted(self.missing)))}" if self.missing else str(self.high)

    def saw(self, ids: Sequence[int]) -> None:
        """Move on past these ids, which are in ascending order."""
        now = time.monotonic()
        for number in ids:
            self.missing.pop(number, None)
            if number > self.high:
                gap = range(max(self.high + 1, number - MOST_MISSING), number) if self.high else ()
                self.missing.update(dict.fromkeys(gap, now))
                self.high = number
        self.missing = {i: at for i, at in list(self.missing.items())[-MOST_MISSING:] if now - at < GIVEN_UP_AFTER}

    def copy(self, high: int | None = None) -> Position:
        """This one, or an earlier one that ends at `high`."""
        if high is None:
            return Position(high=self.high, missing=dict(self.missing))
        return Position(high=high, missing={number: at for number, at in self.missing.items() if number < high})

    def has_read(self, number: int) -> bool:
        return number <= self.high and number not in self.missing


def parse(text: str) -> Position:
    """Raises `InvalidRequest`."""
    found = _POSITION.fullmatch(text)
    if found is None:
        raise InvalidRequest("Last-Event-ID is not one that a stream of ours gave")
    now = time.monotonic()
    missing = {int(number): now for number in (found[2] or "").split(",") if number}
    return Position(high=int(found[1]), missing=missing)


def newest() -> Position:
    """The end of the log as it is now."""
    high = Event.objects.aggregate(high=Max("id"))["high"] or 0
    seen = set(Event.objects.filter(id__gt=high - LOOK_BACK, id__lte=high).values_list("id", flat=True))
    now = time.monotonic()
    lowest = min(seen, default=high)
    return Position(high=high, missing={number: now for number in range(lowest, high) if number not in seen})


def after(
    position: Position, upto: Position | None = None, *, kind: str = "all", name: str = "", sight: Sight = EVERYTHING
) -> list[Event]:
    """The next events that a reader at `position` has not read, and one at `upto` has; at most PAGE, with their jobs.

    Of one `kind` (job, batch, project) where named, and of what may be seen.
    """
    rows = Event.objects.filter(Q(id__gt=position.high) | Q(id__in=list(position.missing)))
    if upto is not None:
        rows = rows.filter(id__lte=upto.high).exclude(id__in=list(upto.missing))
    if name:
        rows = rows.filter(**{_COLUMNS[kind]: name})
    rows = _seen(rows, sight)
    return list(rows.select_related("job").defer(*(f"job__{column}" for column in PAYLOADS)).order_by("id")[:PAGE])


def last_of(job_id: str) -> Event | None:
    return Event.objects.filter(job=job_id).select_related("job").defer(*(f"job__{c}" for c in PAYLOADS)).order_by("-id").first()


def _seen(rows: QuerySet[Event], sight: Sight) -> QuerySet[Event]:
    if sight.projects is not None:
        rows = rows.filter(job__project__in=sight.projects)
    return rows if sight.tools is None else rows.filter(job__tool__in=sight.tools)
