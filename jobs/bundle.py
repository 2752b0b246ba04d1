"""The attempts that a child has begun at once, and the ends that it has not written yet.

Jobs of a millisecond cost more to record than to run. A child that has seen a tool to be that brief begins several of its jobs in
one statement, runs them one after the other, and writes their ends together. When one of them turns out to take long, the pulse
beside it writes what has ended and hands back what was not begun.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from jobs import lifecycle
from jobs.failpoints import failpoint
from jobs.lifecycle import Child, End, Next, Running, Usage

log = logging.getLogger(__name__)

# A tool is brief when so many of its jobs in a row took this process less than so many seconds each.
BRIEF, IN_A_ROW = 0.003, 8
MOST = 16
# How long an end may stay unwritten while others are run, and a job that was not begun may wait behind one; seconds.
HOLD = 0.03


class Habits:
    """What this process has seen of its tools: which of them are brief."""

    def __init__(self) -> None:
        self._in_a_row: Counter[str] = Counter()

    def note(self, tool: str, seconds: float) -> None:
        self._in_a_row[tool] = self._in_a_row[tool] + 1 if seconds < BRIEF else 0

    def brief(self) -> list[str]:
        return [tool for tool, times in self._in_a_row.items() if times >= IN_A_ROW]


class Bundle:
    """Used by the child's thread and its pulse, which both may write: one lock covers the lists and the writing."""

    def __init__(self, given: Sequence[Running], child: Child) -> None:
        self._child = child
        self._lock = threading.Lock()
        self._waiting = deque(given)
        self._ends: list[End] = []
        self._held_since = self.due = math.inf

    def next(self) -> Running | None:
        """The next attempt to run."""
        self.due = time.monotonic() + HOLD
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def add(self, end: End | None) -> None:
        """An attempt has ended; None: there is nothing to write, it was superseded."""
        if end is not None:
            with self._lock:
                self._ends.append(end)
                self._held_since = min(self._held_since, time.monotonic())

    def is_full(self) -> bool:
        """Has an end been held for as long as it may be?"""
        return time.monotonic() - self._held_since >= HOLD

    def close(self, wish: Next | None) -> None:
        """Write all ends, and begin what is wished for. A database that is away is waited for, up to the lease."""
        until = time.monotonic() + settings.JOBSITE_LEASE
        while True:
            try:
                with self._lock:
                    failpoint("finish.before")
                    self._write(wish)
                failpoint("finish.after")
                return
            except (DatabaseError, InterfaceError) as error:
                log.warning("could not write the end of an attempt, tried again: %s", error)
                connection.close()
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)
                self._hand_back_unknown()

    def is_overdue(self, now: float) -> bool:
        return now >= self.due and bool(self._ends or self._waiting)

    def hand_back(self) -> None:
        """Called by the pulse while a run takes long: write what has ended, and let others have what was not begun.

        Raises the database's errors; then all is kept as it was.
        """
        with self._lock:
            ends = list(self._ends)
            self._ends += [
                lifecycle.interrupted(running, Usage(), actor=self._child.name, reason="handed back: the job before it took long")
                for running in self._waiting
            ]
            try:
                self._write(None)
            except BaseException:
                self._ends = ends
                raise
            self._waiting.clear()

    def _write(self, wish: Next | None) -> None:
        if not self._ends:
            if wish is not None:
                lifecycle.start_next(wish)
            return
        ended = lifecycle.write(self._ends, wish)
        for end in self._ends:
            # A cancel came first, or the attempt was superseded: then this does nothing either, and is counted.
            if end.running.job.id not in ended and (
                end.verb == "cancel" or lifecycle.stop(end.running, end.usage, actor=end.actor) is None
            ):
                lifecycle.note_refused(end.running)
        self._ends, self._held_since = [], math.inf

    def _hand_back_unknown(self) -> None:
        """Perhaps the write was committed and only the answer got lost: then the fence refuses it now, and what was begun by it
        has nobody who runs it."""
        with self._lock:
            known = [end.running.attempt_id for end in self._ends] + [running.attempt_id for running in self._waiting]
            for running in lifecycle.running_of_child(self._child, but=known):
                lifecycle.interrupt(running, Usage(), actor=self._child.name)
