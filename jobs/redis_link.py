"""Kept Redis connections, one a process. Redis carries hints: whoever writes here goes on when it fails."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Sequence
from typing import Any

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

log = logging.getLogger(__name__)

LIVE_CHANNEL = f"{settings.REDIS_PREFIX}:live"
POKE_CHANNEL = f"{settings.REDIS_PREFIX}:poke"
# By itself the client tries again for seconds; a hint is not worth the wait.
AT_ONCE = Retry(NoBackoff(), 0)


@functools.cache
def connection() -> redis.Redis:
    """A connection that answers within half a second or raises; safe to call from any thread."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=0.5,
        socket_connect_timeout=0.5,
        health_check_interval=30,
        retry=AT_ONCE,
    )


# A forked child must not share its parent's socket.
os.register_at_fork(after_in_child=connection.cache_clear)


def publish(channel: str, payload: bytes) -> bool:
    """Best effort: false, and a line in the log, when Redis does not take it."""
    return publish_all([(channel, payload)])


def publish_all(messages: Sequence[tuple[str, bytes]]) -> bool:
    """Several (channel, payload) in one round trip, as `publish` does one."""
    try:
        with connection().pipeline(transaction=False) as pipe:
            for channel, payload in messages:
                pipe.publish(channel, payload)
            pipe.execute()
    except redis.RedisError as error:
        log.warning("not published to %s: %s", messages[0][0], error)
        return False
    return True


def subscription(channel: str) -> Any:
    """A pubsub on its own connection, subscribed to `channel`. Raises redis.RedisError when Redis is away."""
    link = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=5, socket_connect_timeout=0.5)
    pubsub = link.pubsub(  # type: ignore[no-untyped-call]
        ignore_subscribe_messages=True
    )
    pubsub.subscribe(channel)
    return pubsub
