"""The log of events read as an outbox: what has surely been committed, in order, told to each subscriber at least once."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from jobs import horizon, payloads
from jobs.horizon import Horizon
from jobs.models import Event, Subscription
from jobs.receivers import Happened, Subscriber, every, kind_of
from jobs.retry import backed_off

log = logging.getLogger(__name__)

BATCH = 200
FIRST_RETRY, LONGEST_RETRY = 1.0, 300.0
# A subscriber that no process has had for so long is taken for removed: it keeps no event from being cleaned up.
GONE_AFTER = timedelta(days=1)


class Settled:
    """Up to which id the log is complete, for a reader that stays in one process."""

    def __init__(self) -> None:
        self.up_to = 0
        self._ahead: Horizon | None = None

    @property
    def is_known(self) -> bool:
        """Before it is, nobody may be told: a new subscriber would be given the log from its beginning."""
        return self.up_to > 0 or self._ahead is None

    @property
    def is_at_rest(self) -> bool:
        """Nothing was seen that is still waited for."""
        return self._ahead is None

    def look(self) -> int:
        """At most three small queries, none of which scans. Call it again to get further."""
        if self._ahead is None:
            self._ahead = horizon.beyond(self.up_to)
        if self._ahead is not None and self._ahead.is_reached:
            self.up_to, self._ahead = self._ahead.event, None
        return self.up_to


def after(position: int, up_to: int) -> list[Happened]:
    """The next events, at most BATCH."""
    return _happened(Event.objects.filter(id__gt=position, id__lte=up_to).order_by("id")[:BATCH])


def of_job(job_id: str) -> list[Happened]:
    """All that has happened to a job."""
    return _happened(Event.objects.filter(job=job_id).order_by("id"))


def _happened(events: QuerySet[Event]) -> list[Happened]:
    rows = events.values_list("id", "verb", "after", "reason", "actor", "attempt_id", "at", "job_id", "job__tool", "job__project")
    return [
        Happened(
            id=event_id,
            kind=kind_of(verb, status),
            job_id=job_id,
            tool=tool,
            project=project,
            status=status,
            reason=reason,
            actor=actor,
            attempt=attempt,
            at=at,
        )
        for event_id, verb, status, reason, actor, attempt, at, job_id, tool, project in rows
    ]


def tell_all(up_to: int) -> int:
    """Tell every subscriber what is new to it; returns how many calls were made."""
    return sum(tell(subscriber, up_to) for subscriber in every())


def tell(subscriber: Subscriber, up_to: int) -> int:
    """A batch at most. Who was told is noted after each call, so that a crash repeats one event and loses none."""
    place, _ = Subscription.objects.get_or_create(name=subscriber.name, defaults={"position": up_to})
    if place.position >= up_to or _must_wait(place):
        return 0
    told, events = 0, after(place.position, up_to)
    for event in events:
        if not subscriber.wants(event):
            continue
        if not _call(subscriber, event, place):
            return told
        told += 1
        _move(place, event.id)
    # Rolled back ids leave gaps: with nothing left to read, the place is the end.
    _move(place, events[-1].id if len(events) == BATCH else up_to)
    return told


def _must_wait(place: Subscription) -> bool:
    return place.retry_at is not None and Subscription.objects.filter(pk=place.pk, retry_at__gt=Now()).exists()


def _call(subscriber: Subscriber, event: Happened, place: Subscription) -> bool:
    try:
        subscriber.receive(event)
    except Exception as error:
        log.exception("subscriber %s failed with %s of %s; it is told again", subscriber.name, event.kind, event.job_id)
        if isinstance(error, DatabaseError | InterfaceError):
            connection.close_if_unusable_or_obsolete()
        # Where it had got to is kept too: what it was told before this event is not told again.
        _put_off(place, event, error)
        return False
    return True


def _move(place: Subscription, position: int) -> None:
    Subscription.objects.filter(pk=place.pk, position__lt=position).update(
        position=position, failures=0, retry_at=None, last_error="", seen_at=Now()
    )


def _put_off(place: Subscription, event: Happened, error: Exception) -> None:
    wait = timedelta(seconds=backed_off(place.failures, first=FIRST_RETRY, cap=LONGEST_RETRY))
    Subscription.objects.filter(pk=place.pk).update(
        position=event.id - 1,
        failures=place.failures + 1,
        retry_at=Now() + wait,
        last_error=payloads.clean_text(f"{type(error).__name__}: {payloads.shown(error)}", 2000),
        seen_at=Now(),
    )


def told_up_to() -> int | None:
    """The id up to which every subscriber was told; None when there is none to wait for. What is later must be kept."""
    return (
        Subscription.objects.filter(seen_at__gt=Now() - GONE_AFTER).order_by("position").values_list("position", flat=True).first()
    )


def still_here() -> None:
    """Note that these subscribers exist."""
    with transaction.atomic():
        Subscription.objects.filter(name__in=[subscriber.name for subscriber in every()]).update(seen_at=Now())
