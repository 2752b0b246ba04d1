"""Webhooks: made, tried, looked into and removed."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from ninja import Path, Query, Router
from ninja.responses import Status
from pydantic import Field

from jobs import deliveries, sight, webhooks
from jobs.api.auth import ADMIN, SUBMIT, ApiRequest, refuse_limited
from jobs.api.requests import JobId, Label, Sent, Whole
from jobs.api.wire import WIRE
from jobs.events import millis
from jobs.models import Delivery, Webhook
from jobs.receivers import FINISHED
from jobs.schemas import Millis, Shape, ms
from jobs.webhooks import About

router = Router(tags=["webhooks"])
of_job = Router(tags=["webhooks"])

# Who sees a part only would be told of the rest.
WHO = "webhooks are managed by callers that see every tool and project; one for a job is made below the job"

MS = timedelta(milliseconds=1)
Number = Annotated[int, Path(ge=1, le=2**63 - 1)]
Kinds = Annotated[list[Annotated[str, Field(pattern=r"^job\.[a-z*]{1,20}$")]], Field(min_length=1, max_length=30)]
Address = Annotated[str, Field(min_length=9, max_length=1000, pattern=r"^https://[!-~]+$")]


class WebhookShape(Shape):
    """`dead` is how many deliveries were given up, as far as they are kept."""

    id: int
    url: str
    events: list[str]
    job_id: str | None = None
    tool_name: str | None = None
    project_id: str | None = None
    made_by: str
    made_at: Millis
    old_secret_until: Annotated[Millis | None, Field(description="until then the secret before signs too")] = None
    dead: int = 0


class MadeWebhook(WebhookShape):
    """`secret` is shown this once; deliveries are signed with it."""

    secret: str


class NewSecret(Sent):
    old_signs_for_ms: Annotated[
        Whole,
        Field(ge=0, le=webhooks.OLD_SIGNS_AT_MOST // MS, description="how long deliveries are signed with the secret before too"),
    ] = webhooks.OLD_SIGNS_FOR // MS


class WebhookList(Shape):
    webhooks: list[WebhookShape]


class DeliveryShape(Shape):
    """`nextAt` is when a waiting one is sent next; `statusCode` and `lastError` are of the last try."""

    id: int
    webhook_id: int
    event_id: int | None = None
    job_id: str | None = None
    type: str
    state: str
    tries: int
    made_at: Millis
    next_at: Millis | None = None
    ended_at: Millis | None = None
    status_code: int | None = None
    last_error: str | None = None
    took_ms: int | None = None


class DeliveryList(Shape):
    deliveries: list[DeliveryShape]


class JobWebhook(Sent):
    """`events` are kinds like `job.completed`; `job.finished` is any end, `job.*` everything."""

    url: Address
    events: Kinds = [FINISHED]


class NewWebhook(JobWebhook):
    """Told of the jobs of this tool and this project; of every job without both."""

    tool_name: Label = ""
    project_id: Label = ""


@router.post("/webhooks", response={201: MadeWebhook}, auth=ADMIN, operation_id="createWebhook", **WIRE)
def create(request: ApiRequest, wanted: NewWebhook) -> MadeWebhook:
    """Have an address told of what happens from now on; the secret is in this answer and nowhere else."""
    refuse_limited(request, WHO)
    about = About(tool=wanted.tool_name, project=wanted.project_id)
    return _made(*webhooks.make(wanted.url, about, events=wanted.events, by=request.caller.name))


@of_job.post("/{job_id}/webhooks", response={201: MadeWebhook}, auth=SUBMIT, operation_id="createJobWebhook", **WIRE)
def create_for_job(request: ApiRequest, job_id: JobId, wanted: JobWebhook) -> MadeWebhook:
    """Have an address told what happens to one job, from its first move on."""
    sight.find(job_id, request.caller.sight)
    return _made(*webhooks.make(wanted.url, About(job_id=job_id), events=wanted.events, by=request.caller.name))


@router.get("/webhooks", response=WebhookList, auth=ADMIN, operation_id="listWebhooks", **WIRE)
def listing(request: ApiRequest) -> WebhookList:
    """The newest 500 in use, without their secrets."""
    refuse_limited(request, WHO)
    dead = deliveries.dead_by_webhook()
    return WebhookList(webhooks=[_shape(hook, dead.get(hook.pk, 0)) for hook in webhooks.every()])


@router.delete("/webhooks/{number}", response={204: None}, auth=ADMIN, operation_id="removeWebhook")
def remove(request: ApiRequest, number: Number) -> Status[None]:
    """It is told nothing more; what waited is given up."""
    refuse_limited(request, WHO)
    webhooks.remove(number, by=request.caller.name)
    return Status(204, None)


@router.post("/webhooks/{number}/secret", response={200: MadeWebhook}, auth=ADMIN, operation_id="rotateWebhookSecret", **WIRE)
def rotate(request: ApiRequest, number: Number, wanted: NewSecret) -> MadeWebhook:
    """A new secret. For a while deliveries carry two signatures, one by the secret before: bring the new one to the receiver."""
    refuse_limited(request, WHO)
    old_signs_for = wanted.old_signs_for_ms * MS
    return _made(*webhooks.rotate(number, by=request.caller.name, old_signs_for=old_signs_for))


@router.post("/webhooks/{number}/trial", response={202: DeliveryShape}, auth=ADMIN, operation_id="tryWebhook", **WIRE)
def trial(request: ApiRequest, number: Number) -> DeliveryShape:
    """Send it something that means nothing."""
    refuse_limited(request, WHO)
    return _delivery(webhooks.try_out(number, by=request.caller.name))


@router.get("/webhooks/{number}/deliveries", response=DeliveryList, auth=ADMIN, operation_id="listDeliveries", **WIRE)
def log_of(
    request: ApiRequest,
    number: Number,
    state: Literal["waiting", "delivered", "dead"] | None = None,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
) -> DeliveryList:
    """What was sent, or is to be; newest first, at most 100; `before` is the id of a delivery."""
    refuse_limited(request, WHO)
    webhooks.find(number)
    return DeliveryList(deliveries=[_delivery(row) for row in deliveries.page(number, phase=state or "", before=before)])


@router.post("/deliveries/{number}/resend", response={202: DeliveryShape}, auth=ADMIN, operation_id="resendDelivery", **WIRE)
def resend(request: ApiRequest, number: Number) -> DeliveryShape:
    """Send it again, at once, with all its tries before it."""
    refuse_limited(request, WHO)
    return _delivery(deliveries.send_again(number, by=request.caller.name))


def _made(hook: Webhook, secret: str) -> MadeWebhook:
    return MadeWebhook(secret=secret, **_shape(hook).model_dump())


def _shape(hook: Webhook, dead: int = 0) -> WebhookShape:
    return WebhookShape(
        id=hook.pk,
        url=hook.url,
        events=hook.events,
        job_id=hook.job_id or None,
        tool_name=hook.tool or None,
        project_id=hook.project or None,
        made_by=hook.made_by,
        made_at=ms(hook.made_at),
        old_secret_until=millis(hook.old_until),
        dead=dead,
    )


def _delivery(row: Delivery) -> DeliveryShape:
    return DeliveryShape(
        id=row.pk,
        webhook_id=row.webhook_id,
        event_id=row.event_id,
        job_id=row.job_id or None,
        type=row.kind,
        state=row.phase,
        tries=row.tries,
        made_at=ms(row.made_at),
        next_at=ms(row.next_at) if row.phase == Delivery.Phase.WAITING else None,
        ended_at=millis(row.ended_at),
        status_code=row.status_code,
        last_error=row.last_error or None,
        took_ms=row.took_ms,
    )
