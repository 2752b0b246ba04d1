"""Sends what is due to webhooks: signed, over checked connections, several at a time, each within a time."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence

import httpcore2
import orjson
from asgiref.sync import sync_to_async
from django.db import DatabaseError, InterfaceError, connections
from django.utils import timezone

from jobs import deliveries, outward, pinned, sealing, webhooks
from jobs.deliveries import TRY_FOR, Outcome
from jobs.errors import Refused
from jobs.models import Delivery

log = logging.getLogger(__name__)

AT_ONCE = 32
# Seconds between two looks for what is due.
IDLE_WAIT = 0.5
CLEAN_EVERY = 600.0


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """As "Standard Webhooks" has it: HMAC-SHA256 of `id.timestamp.body`, in base64, after its version."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(digest).decode()


def headers(secrets: Sequence[str], message_id: str, body: bytes, now: int) -> dict[str, str]:
    """Signed with each of `secrets`; a receiver takes what one that it knows has signed."""
    return {
        "Content-Type": "application/json",
        "User-Agent": "Jobsite",
        "Webhook-Id": message_id,
        "Webhook-Timestamp": str(now),
        "Webhook-Signature": " ".join(signature(secret, message_id, now, body) for secret in secrets),
    }


async def post(pool: httpcore2.AsyncConnectionPool, delivery: Delivery) -> Outcome:
    """One try. Never raises for what the receiver does or is."""
    began = time.monotonic()
    try:
        # Checked again: the list may have been changed since the webhook was made.
        outward.check_url(delivery.webhook.url)
        body = orjson.dumps(delivery.body)
        now = timezone.now()
        signed = headers(webhooks.signing(delivery.webhook, now), f"msg_{delivery.pk}", body, int(now.timestamp()))
        # One bound over all: a receiver that answers byte by byte is as slow as one that does not answer.
        async with asyncio.timeout(TRY_FOR):
            status, wait = await _exchange(pool, delivery.webhook.url, signed, body)
    except (Refused, sealing.LostKey, pinned.AddressRefused) as error:
        return Outcome(error=str(error), took_ms=_since(began))
    except TimeoutError:
        return Outcome(error=f"no answer within {TRY_FOR:g} s", took_ms=_since(began))
    except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, OSError) as error:
        return Outcome(error=f"{type(error).__name__}: {error}", took_ms=_since(began))
    return Outcome(status=status, error="" if 200 <= status < 300 else f"it answered {status}", took_ms=_since(began), wait=wait)


async def _exchange(
    pool: httpcore2.AsyncConnectionPool, url: str, sent: Mapping[str, str], body: bytes
) -> tuple[int, float | None]:
    """The status, and the seconds of Retry-After. What else the receiver says is not read."""
    async with pool.stream("POST", url, headers=list(sent.items()), content=body) as answer:
        said = {name.lower(): value for name, value in answer.headers}
        seconds = said.get(b"retry-after", b"")
        return answer.status, float(seconds) if seconds.isdigit() and len(seconds) < 10 else None


def _since(began: float) -> int:
    return int((time.monotonic() - began) * 1000)


class Poster(threading.Thread):
    """A thread of `manage.py events`. Several processes may each have one: a delivery is claimed in the database."""

    def __init__(self) -> None:
        super().__init__(name="webhooks", daemon=True)
        self._stopping = False
        self._cleaned = float("-inf")
        self._under_way: dict[asyncio.Task[Outcome], Delivery] = {}

    def stop(self) -> None:
        """Take up nothing more, and end within the time of a try."""
        self._stopping = True

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        async with pinned.connections(AT_ONCE) as pool:
            while not self._stopping or self._under_way:
                try:
                    await self._round(pool)
                except (DatabaseError, InterfaceError) as error:
                    log.warning("webhooks wait for the database: %s", error)
                    await sync_to_async(connections.close_all)()
                    await asyncio.sleep(1.0)
        await sync_to_async(connections.close_all)()

    async def _round(self, pool: httpcore2.AsyncConnectionPool) -> None:
        """Begin what is due, and note what has ended; waits a moment when there is nothing to do."""
        free = 0 if self._stopping else AT_ONCE - len(self._under_way)
        begun = await self._claim(free) if free else []
        for delivery in begun:
            self._under_way[asyncio.create_task(post(pool, delivery))] = delivery
        if not self._under_way:
            await asyncio.sleep(IDLE_WAIT)
            return
        ended, _ = await asyncio.wait(self._under_way, timeout=IDLE_WAIT, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            # Taken out first: a try whose outcome cannot be written down is taken up again when its hold has run out.
            await sync_to_async(_noted)(self._under_way.pop(task), _outcome_of(task))

    async def _claim(self, most: int) -> list[Delivery]:
        if time.monotonic() - self._cleaned > CLEAN_EVERY:
            self._cleaned = time.monotonic()
            await sync_to_async(deliveries.forget_old)()
            await sync_to_async(webhooks.forget_old_secrets)()
        busy = Counter(delivery.webhook_id for delivery in self._under_way.values())
        return await sync_to_async(deliveries.claim)(most, busy)


def _outcome_of(task: asyncio.Task[Outcome]) -> Outcome:
    """What nobody foresaw fails one delivery, and not all that come after it."""
    try:
        return task.result()
    except Exception as error:
        log.exception("a delivery failed on our side")
        return Outcome(error=f"{type(error).__name__} on our side; the log says more")


def _noted(delivery: Delivery, outcome: Outcome) -> None:
    deliveries.note(delivery, outcome)
    if not outcome.was_taken:
        # The address may be a secret in itself, so it is named by its number.
        log.info(
            "webhook %s did not take delivery %s (try %s): %s", delivery.webhook_id, delivery.pk, delivery.tries, outcome.error
        )
