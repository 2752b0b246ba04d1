"""The loop that tells subscribers what happened to jobs. One leads, others stand by."""

from __future__ import annotations

import logging
import time

import redis
from django.db import DatabaseError, InterfaceError, connection

from jobs import outbox, outward, redis_link, webhooks, workers
from jobs.poster import Poster

log = logging.getLogger(__name__)

# Key of the advisory lock that the leading courier holds: "jobe" in ASCII.
LOCK = 0x6A6F6265
# Without news it looks again after this long; with news at this pace. Seconds.
IDLE_WAIT, PACE = 1.0, 0.05
STANDBY_WAIT = 2.0
SEEN_EVERY = 60.0


class Courier:
    """Runs until told to stop. Database or Redis going away is waited out."""

    def __init__(self) -> None:
        self.stopping = False
        self._settled = outbox.Settled()
        self._news: redis.client.PubSub | None = None
        self._seen = float("-inf")

    def stop(self) -> None:
        self.stopping = True

    def run(self) -> None:
        poster = Poster() if outward.is_on() else None
        if poster is not None:
            poster.start()
        while not self.stopping:
            try:
                self._lead()
            except (DatabaseError, InterfaceError) as error:
                log.warning("the courier starts anew: %s", error)
                connection.close()
                self._rest(1.0)
        if poster is not None:
            poster.stop()
            poster.join()

    def _lead(self) -> None:
        while not self.stopping and not workers.lead(LOCK):
            self._rest(STANDBY_WAIT)
        while not self.stopping:
            if self.one_round():
                continue
            self._await_news()

    def one_round(self) -> int:
        """Tell everybody what is new; returns how many calls were made or are to be made."""
        if time.monotonic() - self._seen > SEEN_EVERY:
            self._seen = time.monotonic()
            outbox.still_here()
        up_to = self._settled.look()
        if not self._settled.is_known:
            return 0
        return webhooks.write_down(up_to) + outbox.tell_all(up_to)

    def _await_news(self) -> None:
        """Until something is announced, or a moment has passed. What comes meanwhile makes one round."""
        time.sleep(PACE)
        try:
            if self._news is None:
                self._news = redis_link.subscription(redis_link.LIVE_CHANNEL)
            heard = self._news.get_message(timeout=IDLE_WAIT)
            while heard is not None:
                heard = self._news.get_message(timeout=0)
        except redis.RedisError as error:
            if self._news is not None:
                log.warning("no news from Redis: %s", error)
            self._news = None
            self._rest(IDLE_WAIT)

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.stopping and time.monotonic() < until:
            time.sleep(0.05)
