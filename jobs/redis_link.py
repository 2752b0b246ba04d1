"""Kept Redis connections, one a process. Redis carries hints: whoever writes here goes on when it fails."""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

log = logging.getLogger(__name__)

LIVE_CHANNEL = f"{settings.REDIS_PREFIX}:live"
POKE_CHANNEL = f"{settings.REDIS_PREFIX}:poke"
# Ids of attempts whose jobs were cancelled while they run.
STOP_CHANNEL = f"{settings.REDIS_PREFIX}:stop"
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


class _Reach:
    """Is Redis worth a wait? Once it has failed, one thread asks until it answers; whoever has a hint to give goes on at once.

    Without it each submit would wait half a second while Redis takes connections and says nothing.
    """

    ASK_EVERY = 0.25

    def __init__(self) -> None:
        self._away = threading.Lock()  # held by the thread that asks

    def holds(self) -> bool:
        return not self._away.locked()

    def lost(self) -> None:
        if self._away.acquire(blocking=False):
            threading.Thread(target=self._ask, name="redis-reach", daemon=True).start()

    def _ask(self) -> None:
        try:
            while not self._answers():
                time.sleep(self.ASK_EVERY)
            log.warning("Redis answers again")
        finally:
            self._away.release()

    @staticmethod
    def _answers() -> bool:
        try:
            return bool(connection().ping())
        except redis.RedisError:
            return False  # publish_all has said so in the log


_reach = _Reach()


def _after_fork() -> None:
    """A child shares neither its parent's socket nor its thread."""
    global _reach
    connection.cache_clear()
    _reach = _Reach()


os.register_at_fork(after_in_child=_after_fork)


def publish(channel: str, payload: bytes) -> bool:
    """Best effort: false when Redis does not take it, at once while it is known to be away."""
    return publish_all([(channel, payload)])


def publish_all(messages: Sequence[tuple[str, bytes]]) -> bool:
    """Several (channel, payload) in one round trip, as `publish` does one."""
    if not _reach.holds():
        return False
    try:
        with connection().pipeline(transaction=False) as pipe:
            for channel, payload in messages:
                pipe.publish(channel, payload)
            pipe.execute()
    except redis.RedisError as error:
        log.warning("nothing is published until Redis answers again: %s", error)
        _reach.lost()
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
