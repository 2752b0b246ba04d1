"""Deliveries to webhooks: which are due, what came of a try, and how often and how patiently it is tried again."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from jobs import audit
from jobs.errors import NotFound
from jobs.models import Delivery, Webhook
from jobs.payloads import clean_text
from jobs.retry import backed_off

MOST_TRIES = 14
FIRST_RETRY, LONGEST_RETRY = 5.0, 3600.0
# A try that was begun and of which nothing was heard is taken up again after this: its process is gone. Above TRY_FOR.
HELD_FOR = timedelta(seconds=60)
TRY_FOR = 10.0
# Tries of one webhook at a time, so that one that is slow takes no place from others.
MOST_OF_WEBHOOK = 4
KEPT = {Delivery.Phase.DELIVERED: timedelta(days=3), Delivery.Phase.DEAD: timedelta(days=30)}
PAGE = 100
_LOOKED_AT = 200


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one try. `status` is 0 without an answer; `wait` are the seconds that the receiver asked for."""

    status: int = 0
    error: str = ""
    took_ms: int = 0
    wait: float | None = None

    @property
    def was_taken(self) -> bool:
        return not self.error and 200 <= self.status < 300

    @property
    def is_hopeless(self) -> bool:
        """410: the receiver says that it is gone for good."""
        return self.status == 410


def claim(most: int, busy: Mapping[int, int]) -> list[Delivery]:
    """Deliveries that are due, at most `most`, taken so that no other process sends them meanwhile; the longest due first.

    `busy` is how many tries each webhook has under way here.
    """
    full = [webhook for webhook, count in busy.items() if count >= MOST_OF_WEBHOOK]
    due = (
        Delivery.objects.filter(phase=Delivery.Phase.WAITING, next_at__lte=Now())
        .exclude(webhook__in=full)
        .order_by("next_at", "id")
    )
    with transaction.atomic():
        wanted = _shared_out(list(due.values_list("id", "webhook_id")[:_LOOKED_AT]), most, busy)
        locked = Delivery.objects.select_for_update(skip_locked=True).filter(
            pk__in=wanted, phase=Delivery.Phase.WAITING, next_at__lte=Now()
        )
        ids = list(locked.values_list("id", flat=True))
        Delivery.objects.filter(pk__in=ids).update(next_at=Now() + HELD_FOR, tries=F("tries") + 1)
    return list(Delivery.objects.filter(pk__in=ids).select_related("webhook").order_by("id"))


def _shared_out(due: list[tuple[int, int]], most: int, busy: Mapping[int, int]) -> list[int]:
    taken: Counter[int] = Counter(busy)
    chosen: list[int] = []
    for delivery, webhook in due:
        if len(chosen) < most and taken[webhook] < MOST_OF_WEBHOOK:
            taken[webhook] += 1
            chosen.append(delivery)
    return chosen


def note(delivery: Delivery, outcome: Outcome) -> bool:
    """Write down what came of a try; false when it was taken up by somebody else, or removed, meanwhile."""
    row = Delivery.objects.filter(pk=delivery.pk, tries=delivery.tries, phase=Delivery.Phase.WAITING)
    seen = {
        "status_code": outcome.status or None,
        "last_error": clean_text(outcome.error, 1000),
        "took_ms": outcome.took_ms,
    }
    if outcome.was_taken:
        return bool(row.update(phase=Delivery.Phase.DELIVERED, ended_at=Now(), **seen))
    if outcome.is_hopeless or delivery.tries >= MOST_TRIES:
        return bool(row.update(phase=Delivery.Phase.DEAD, ended_at=Now(), **seen))
    return bool(row.update(next_at=Now() + timedelta(seconds=pause_after(delivery.tries, outcome.wait)), **seen))


def pause_after(tries: int, wanted: float | None = None, *, drawn: float | None = None) -> float:
    """Seconds until the next try, up to an hour: doubling, a fifth of it drawn, or what the receiver asked for if that is more."""
    spread = random.uniform(0.8, 1.0) if drawn is None else drawn  # noqa: S311  (when to call is no secret)
    doubled = backed_off(tries - 1, first=FIRST_RETRY, cap=LONGEST_RETRY)
    return min(LONGEST_RETRY, max(doubled * spread, wanted or 0.0))


def send_again(number: int, *, by: str) -> Delivery:
    """Begin anew with one that has ended; one that waits is due now. Raises `NotFound`."""
    with transaction.atomic():
        again = Delivery.objects.filter(pk=number, webhook__removed_at=None).update(
            phase=Delivery.Phase.WAITING, ended_at=None, tries=0, next_at=Now()
        )
        if not again:
            raise NotFound(f"there is no delivery {number} of a webhook in use")
        audit.note("send again", f"delivery {number}", by=by)
    return Delivery.objects.get(pk=number)


def page(webhook: int, *, phase: str = "", before: int | None = None, most: int = PAGE) -> list[Delivery]:
    """Of one webhook, newest first; those older than the delivery `before`."""
    rows = Delivery.objects.filter(webhook=webhook).order_by("-id")
    rows = rows.filter(phase=phase) if phase else rows
    return list((rows if before is None else rows.filter(pk__lt=before))[:most])


def dead_by_webhook() -> dict[int, int]:
    """How many deliveries each webhook in use has been given up for, as far as they are kept."""
    rows = Delivery.objects.filter(phase=Delivery.Phase.DEAD, webhook__removed_at=None).values_list("webhook_id", flat=True)
    return dict(Counter(rows))


def forget_old() -> int:
    """Remove what has ended long ago, a batch at a time, and webhooks of which nothing is left; returns how many deliveries."""
    gone = 0
    for phase, kept in KEPT.items():
        old = Delivery.objects.filter(phase=phase, ended_at__lt=Now() - kept).order_by("ended_at")[:1000]
        gone += Delivery.objects.filter(pk__in=list(old.values_list("pk", flat=True))).delete()[0]
    Webhook.objects.filter(removed_at__isnull=False, deliveries=None).delete()
    return gone
