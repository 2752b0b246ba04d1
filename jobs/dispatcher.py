"""The loop that admits, rings, settles and rescues. One leads, others stand by."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import redis
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from jobs import (
    admission,
    configuration,
    doorbell,
    events,
    external,
    idempotency,
    lifecycle,
    redis_link,
    rescue,
    retention,
    rollup,
    sampling,
    tally,
    workers,
)
from jobs.bundle import MOST
from jobs.census import census
from jobs.chores import Chore
from jobs.failpoints import failpoint
from jobs.lifecycle.rows import UNTIL_PLANNED
from jobs.limits import Resources
from jobs.room import Room

log = logging.getLogger(__name__)

# Without a poke it looks again after this long; seconds.
IDLE_WAIT = 1.0
STANDBY_WAIT = 1.0
# A leader asks the database something each second. After so much silence another takes its place; seconds.
SILENT_FOR = 3.0
# With more attempts than this waiting for a process (as many as one takes at once), rounds come at this pace; seconds.
AHEAD, PACE = MOST, 0.004
# Figures are kept this often, and for at most a fiftieth of the time; seconds.
FIGURES, FIGURES_REST = 2.0, 50
# Levels of failed dependents that one round goes down; the next round goes on.
SETTLE_DEPTH = 50


@dataclass(frozen=True, kw_only=True)
class Round:
    """What one round did."""

    settled: int
    due: int
    expired: int
    admitted: int
    rung: int
    waiting: int  # admitted, and not started when the round was over
    more: bool = False  # it stopped looking before everything was seen
    reranked: int = 0

    @property
    def busy(self) -> bool:
        """Is there likely more to do at once?"""
        return bool(self.due or self.expired or self.reranked or self.more)


def one_round() -> Round:
    """Expire, settle, open, admit, ring. A fixed number of queries, however many jobs wait."""
    now = admission.outlook()
    if not now.config:
        configuration.row()
        now = admission.outlook()
    reranked = 0
    if configuration.limits_at(now.config).reranking:
        reranked, now = lifecycle.rerank(), admission.outlook()
    # What is of no use any more goes first: it shall not be admitted, and what waits for it shall be told in this round.
    expired = lifecycle.expire() if now.late else 0
    settled, more_to_settle = _settle() if now.unsettled or expired else (0, False)
    if settled:
        failpoint("settle.after")
    due = lifecycle.open_due() if now.due else 0
    admitted, more = [], False
    if now.ready or settled or due:
        choice = admission.next_jobs(configuration.limits_at(now.config), now)
        admitted, more = lifecycle.admit(choice.ids, config=now.config, rated=choice.rated), choice.more
    if admitted:
        failpoint("admit.after")
    rung = doorbell.ring((job.current_attempt_id or 0, job.queue, job.timeout_ms) for job in admitted)
    waiting = now.waiting + len(admitted)
    return Round(
        settled=settled,
        due=due,
        expired=expired,
        admitted=len(admitted),
        rung=rung,
        waiting=waiting,
        more=more or more_to_settle,
        reranked=reranked,
    )


def _settle() -> lifecycle.Settled:
    rows, more = 0, True
    for _ in range(SETTLE_DEPTH):
        moved, more = lifecycle.settle()
        rows += moved
        if not more:
            break
    return lifecycle.Settled(rows, more)


def warm_up() -> None:
    """Have the statements of a round planned before the first job waits for them, as children do (execution.warm_up).

    Only for who leads: two that settle at once, each a parent of one child, would each see it wait for the other's.
    """
    nothing = Room(slots=0, resources=Resources(memory_mb=0, cpu_weight=0, disk_mb=0))
    for _ in range(UNTIL_PLANNED):
        admission.outlook()
        lifecycle.settle()
        census()
        for most in admission.LOOK_SIZES:
            admission.candidates(nothing, most)
        lifecycle.admit([""], config="")
        doorbell.idle("warm")
        lifecycle.note_rung([0])


def sweep() -> None:
    """What need not be done at every poke: rescue the lost, ring again where nobody answered."""
    rescue.rescue_lost()
    rescue.replace_unanswered()
    external.sweep()
    doorbell.ring(doorbell.unanswered())


def keep_figures() -> float:
    """Count what happened and how the queue stands, for the pages; the seconds until the next time."""
    began = time.monotonic()
    rollup.roll_up()
    tally.merge()
    sampling.sample()
    return max(FIGURES, FIGURES_REST * (time.monotonic() - began))


def clean() -> float:
    """Remove what is too old; in small batches, the rest the next time: in so many seconds."""
    idempotency.forget_old()
    sampling.forget_old()
    rollup.forget_old()
    return settings.JOBSITE_CLEANUP


class Dispatcher:
    """Runs rounds until told to stop. Database or Redis going away is waited out."""

    def __init__(self) -> None:
        self.stopping = False
        self._pokes: redis.client.PubSub | None = None
        self._swept = 0.0

    def stop(self) -> None:
        self.stopping = True

    def run(self) -> None:
        while not self.stopping:
            try:
                self._lead()
            except (DatabaseError, InterfaceError, redis.RedisError) as error:
                log.warning("the dispatcher starts anew: %s", error)
                connection.close()
                self._rest(1.0)

    def _lead(self) -> None:
        while not self.stopping and not workers.lead():
            if workers.depose_silent_leader(SILENT_FOR):
                log.warning("the leading dispatcher was silent for %g s: it leads no longer", SILENT_FOR)
                self._rest(0.1)
            else:
                self._rest(STANDBY_WAIT)
        if self.stopping:
            return
        log.info("this dispatcher leads")
        events.tell_of_the_line()
        warm_up()
        works = {"figures": keep_figures, "cleaning": clean, "retention": retention.remove_for_now}
        chores = [Chore(name, work) for name, work in works.items()]
        for chore in chores:
            chore.start()
        try:
            self._rounds()
        finally:
            for chore in chores:
                chore.stop()

    def _rounds(self) -> None:
        while not self.stopping:
            done = one_round()
            # Every process of the workers has its next attempt waiting already: a round for each job would be wasted.
            if done.waiting > AHEAD:
                time.sleep(PACE)
            if not done.busy:
                self._await_poke()
            if time.monotonic() - self._swept >= settings.JOBSITE_SWEEP:
                self._swept = time.monotonic()
                sweep()

    def _await_poke(self) -> None:
        """Until somebody pokes, or a moment has passed. All pokes that wait already make one round."""
        try:
            if self._pokes is None:
                self._pokes = redis_link.subscription(redis_link.POKE_CHANNEL)
            # A sweep must not be late by a whole wait: the lost are waited for.
            sweep_in = max(0.0, self._swept + settings.JOBSITE_SWEEP - time.monotonic())
            heard = self._pokes.get_message(timeout=min(IDLE_WAIT, sweep_in))
            while heard is not None:
                heard = self._pokes.get_message(timeout=0)
        except redis.RedisError as error:
            if self._pokes is not None:
                log.warning("no pokes from Redis: %s", error)
            self._pokes = None
            self._rest(0.2)

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.stopping and time.monotonic() < until:
            time.sleep(0.05)


def once() -> Round:
    """Rounds until one finds nothing more to settle, and a sweep; for tests and `manage.py dispatcher --once`."""
    while (done := one_round()).busy:
        pass
    sweep()
    return done
