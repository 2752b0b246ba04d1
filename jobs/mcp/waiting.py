"""Waiting for a job to end, or to ask something: woken by the message that every move sends, not by asking the database."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
import redis
import redis.asyncio
from asgiref.sync import sync_to_async
from django.conf import settings

from jobs import redis_link
from jobs.sight import Sight, find
from jobs.states import Gate

log = logging.getLogger(__name__)

# A message may get lost: looked at again after so long all the same; seconds.
HEAL = 5.0


async def until_settled(job_id: str, seconds: float, sight: Sight) -> None:
    """At most so long. Raises `NotFound`."""
    until = time.monotonic() + seconds
    async with _moves() as moves:
        # Subscribed before the look, so that nothing can happen between the two.
        while not await sync_to_async(_settled)(job_id, sight):
            left = until - time.monotonic()
            if left <= 0:
                return
            await _moved(moves, job_id, min(left, HEAL))


def _settled(job_id: str, sight: Sight) -> bool:
    job = find(job_id, sight)
    return job.is_final or job.gate == Gate.INPUT


@contextlib.asynccontextmanager
async def _moves() -> AsyncIterator[Any]:
    """What is announced about jobs; None when Redis is away."""
    link = redis.asyncio.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=0.5)
    moves = link.pubsub(ignore_subscribe_messages=True)
    try:
        await moves.subscribe(redis_link.LIVE_CHANNEL)
    except redis.RedisError as error:
        log.warning("no news from Redis, a wait looks every %g s: %s", HEAL, error)
        yield None
    else:
        yield moves
    finally:
        with contextlib.suppress(redis.RedisError):
            await moves.aclose()  # type: ignore[no-untyped-call]
        await link.aclose()


async def _moved(moves: Any, job_id: str, seconds: float) -> None:
    """Until the job made a move (progress is none), or for so long."""
    name = f'"id":"{job_id}"'.encode()
    with anyio.move_on_after(seconds):
        while moves is not None:
            try:
                message = await moves.get_message(timeout=seconds)
            except redis.RedisError:
                break
            if message and name in message["data"] and b'"status"' in message["data"]:
                return
        await anyio.sleep(seconds)
