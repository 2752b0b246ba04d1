"""Webhooks: made and removed, and each event of the log written down once for everybody outside who wants it."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from jobs import audit, outbox, outward, sealing
from jobs.errors import InvalidRequest, NotFound, Problem, Refused
from jobs.models import Delivery, Subscription, Webhook
from jobs.receivers import FINISHED, KINDS, Happened, is_named

# Under this name the place in the log of events is kept up to which deliveries were written down.
PLACE = "jobs.webhooks"
MOST_OF_JOB = 10
# How long the secret before still signs: time to bring the new one to the receiver, by hand too.
OLD_SIGNS_FOR, OLD_SIGNS_AT_MOST = timedelta(days=1), timedelta(days=30)
TRIAL = "webhook.trial"


class WebhooksOff(Refused):
    """Nobody said where to webhooks may go."""

    code, title, http_status = "webhooks-off", "Webhooks are off", 409


class TooManyWebhooks(Refused):
    code, title, http_status = "too-many-webhooks", "The job has as many webhooks as it may have", 409


@dataclass(frozen=True, kw_only=True)
class About:
    """Of which jobs a webhook is told: those to which all of this applies; "" is any."""

    job_id: str = ""
    tool: str = ""
    project: str = ""

    def __str__(self) -> str:
        said = [
            f"{name} {value}" for name, value in (("job", self.job_id), ("tool", self.tool), ("project", self.project)) if value
        ]
        return ", ".join(said) or "every job"


def make(url: str, about: About, *, events: Collection[str] = (FINISHED,), by: str) -> tuple[Webhook, str]:
    """A webhook and its secret, which is shown this once. Raises `WebhooksOff`, `InvalidRequest` or `TooManyWebhooks`.

    One for a job is told of all its moves, also of those before; others of what happens from now on.
    """
    if not outward.is_on():
        raise WebhooksOff("no host is named in JOBSITE_WEBHOOK_HOSTS, so webhooks may go nowhere")
    outward.check_url(url)
    if not events or (unknown := sorted(set(events) - KINDS)):
        detail = f"unknown event {', '.join(unknown)}" if events else "no event is named"
        raise InvalidRequest(f"{detail}; there are {', '.join(sorted(KINDS))}", [Problem(detail=detail, pointer="/events")])
    secret = _new_secret()
    with transaction.atomic():
        if about.job_id and Webhook.objects.filter(job_id=about.job_id, removed_at=None).count() >= MOST_OF_JOB:
            raise TooManyWebhooks(f"a job has at most {MOST_OF_JOB} webhooks")
        hook = Webhook.objects.create(
            url=url,
            events=sorted(set(events)),
            job_id=about.job_id,
            tool=about.tool,
            project=about.project,
            secret=sealing.close(secret),
            made_by=by,
        )
        audit.note("make webhook", f"webhook {hook.pk}", by=by, after={"about": str(about), "events": hook.events})
    if about.job_id:
        # After the commit: what is committed later the courier finds with this webhook in sight, so nothing falls in between.
        _write([hook], outbox.of_job(about.job_id))
    hook.refresh_from_db()
    return hook, secret


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def rotate(number: int, *, by: str, old_signs_for: timedelta = OLD_SIGNS_FOR) -> tuple[Webhook, str]:
    """A new secret, which is shown this once. Raises `NotFound`.

    Until `old_signs_for` is over each delivery is signed with both, so the receiver may change over at any moment between; with no
    time at all the one before signs nothing more. A secret before that one is forgotten at once.
    """
    secret = _new_secret()
    with transaction.atomic():
        hook = Webhook.objects.select_for_update().filter(pk=number, removed_at=None).first()
        if hook is None:
            raise NotFound(f"there is no webhook {number}")
        overlaps = old_signs_for > timedelta(0)
        Webhook.objects.filter(pk=number).update(
            secret=sealing.close(secret),
            old_secret=hook.secret if overlaps else "",
            old_until=Now() + old_signs_for if overlaps else None,
        )
        hook.refresh_from_db()
        audit.note("rotate webhook", f"webhook {number}", by=by, after={"old signs until": str(hook.old_until or "now")})
    return hook, secret


def forget_old_secrets() -> int:
    """Those that sign nothing more; how many."""
    return Webhook.objects.filter(old_until__lte=Now()).update(old_secret="", old_until=None)


def signing(hook: Webhook, now: datetime) -> list[str]:
    """The secrets that sign a delivery at `now`, the newest first. Raises `LostKey`."""
    sealed = [hook.secret] + ([hook.old_secret] if hook.old_until is not None and now < hook.old_until else [])
    return [sealing.open_one(text) for text in sealed]


def find(number: int) -> Webhook:
    """Raises `NotFound`, also for one that was removed."""
    hook = Webhook.objects.filter(pk=number, removed_at=None).first()
    if hook is None:
        raise NotFound(f"there is no webhook {number}")
    return hook


def every(most: int = 500) -> list[Webhook]:
    """Those in use, newest first."""
    return list(Webhook.objects.filter(removed_at=None).order_by("-id")[:most])


def remove(number: int, *, by: str) -> None:
    """It is told nothing more, also of what waited; the log of its deliveries stays for its time. Raises `NotFound`."""
    with transaction.atomic():
        if not Webhook.objects.filter(pk=number, removed_at=None).update(removed_at=Now()):
            raise NotFound(f"there is no webhook {number}")
        Delivery.objects.filter(webhook=number, phase=Delivery.Phase.WAITING).update(
            phase=Delivery.Phase.DEAD, ended_at=Now(), last_error="the webhook was removed"
        )
        audit.note("remove webhook", f"webhook {number}", by=by)


def try_out(number: int, *, by: str) -> Delivery:
    """Send something that means nothing, to see it arrive. Raises `NotFound`."""
    hook = find(number)
    made = Delivery.objects.create(webhook=hook, kind=TRIAL, body={"type": TRIAL, "data": {"webhookId": hook.pk, "by": by}})
    made.refresh_from_db()
    return made


# --- from the outbox ---------------------------------------------------------------------------------------------------
def write_down(up_to: int) -> int:
    """Deliveries for a batch of what is new in the log of events; returns how many. The leading courier calls this."""
    if not outward.is_on():
        return 0
    place, _ = Subscription.objects.get_or_create(name=PLACE, defaults={"position": up_to})
    if place.position >= up_to:
        return 0
    with transaction.atomic():
        # The place moves with what was written: a crash repeats nothing and loses nothing.
        events = outbox.after(place.position, up_to) if Webhook.objects.filter(removed_at=None).exists() else []
        made = _write(_in_use(events), events)
        position = events[-1].id if len(events) == outbox.BATCH else up_to
        Subscription.objects.filter(pk=PLACE).update(position=position, seen_at=Now())
    return made


def _in_use(events: Sequence[Happened]) -> list[Webhook]:
    jobs = {event.job_id for event in events}
    return list(Webhook.objects.filter(Q(job_id="") | Q(job_id__in=jobs), removed_at=None).order_by("id")) if jobs else []


def _write(hooks: Iterable[Webhook], events: Sequence[Happened]) -> int:
    rows = [
        Delivery(webhook=hook, event_id=event.id, job_id=event.job_id, kind=event.kind, body=_body(event))
        for hook in hooks
        for event in events
        if _wants(hook, event)
    ]
    # An event that is there already (a job's webhook, made while the courier read) is one and the same.
    return len(Delivery.objects.bulk_create(rows, ignore_conflicts=True, batch_size=500))


def _wants(hook: Webhook, event: Happened) -> bool:
    return (
        hook.job_id in ("", event.job_id)
        and hook.tool in ("", event.tool)
        and hook.project in ("", event.project)
        and is_named(hook.events, event)
    )


def _body(event: Happened) -> dict[str, Any]:
    """What is sent. Params and results are not: who may see them asks the API."""
    return {
        "type": event.kind,
        "timestamp": event.at.astimezone(UTC).isoformat(),
        "data": {
            "eventId": event.id,
            "jobId": event.job_id,
            "toolName": event.tool,
            "projectId": event.project or None,
            "status": event.status,
            "reason": event.reason,
            "actor": event.actor,
            "at": int(event.at.timestamp() * 1000),
        },
    }
