"""The thread that listens, in a process that runs jobs, for wishes to stop: so that a cancel need not wait for the next beat."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import orjson
import redis

from jobs import redis_link

log = logging.getLogger(__name__)

# How long it takes to notice that it is no longer needed, and the longest rest while Redis is away; seconds.
LOOK_UP, LONGEST_REST = 1.0, 10.0


class Ear(threading.Thread):
    """Calls `heard` with the ids of attempts that were told to stop. A hint: what is lost here, the beat finds in the database."""

    def __init__(self, heard: Callable[[list[int]], None]) -> None:
        super().__init__(name="ear", daemon=True)
        self.closing = threading.Event()
        self._heard = heard

    def run(self) -> None:
        rest = LOOK_UP
        while not self.closing.is_set():
            try:
                self._listen()
                rest = LOOK_UP
            except redis.RedisError as error:
                log.info("wishes to stop are not heard, only read at each beat: %s", error)
                self.closing.wait(rest)
                rest = min(2 * rest, LONGEST_REST)

    def _listen(self) -> None:
        channel = redis_link.subscription(redis_link.STOP_CHANNEL)
        try:
            while not self.closing.is_set():
                message = channel.get_message(timeout=LOOK_UP)
                if message and (ids := _ids(message["data"])):
                    self._heard(ids)
        finally:
            channel.close()


def _ids(data: Any) -> list[int]:
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        log.warning("dropped a wish to stop that is not JSON")
        found = None
    return found if isinstance(found, list) else []
