"""The thread beside a running tool: renews the lease, carries progress, watches the time, and ends what does not end."""

from __future__ import annotations

import logging
import math
import mmap
import os
import signal
import threading
import time
from collections.abc import Callable

from billiard.common import terminate_handler_fired  # type: ignore[attr-defined]  # the stubs are older
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from jobs import lifecycle, redis_link
from jobs.bundle import Bundle
from jobs.ear import Ear
from jobs.errors import Cancelled, Interrupted, OverDisk, OverMemory, Stopped, Superseded, TimedOut
from jobs.failpoints import failpoint
from jobs.memory import Guard
from jobs.resources import end_descendants
from jobs.run_context import RunContext

log = logging.getLogger(__name__)

# What leaves the process is limited to ten reports a second.
REPORT_EVERY = 0.1
WARN_AT = 0.8
# While jobs follow one another, and for a moment after the last, it looks this often without being woken; seconds.
OFTEN, BUSY_FOR = 0.1, 1.0
# Raises in the tool's own thread, so that a tool that never reports can be told that its time is over.
WAKE_SIGNAL = signal.SIGUSR2

# Shared by a worker and its children (made before they are forked), a byte each: the worker is going down; it is drained.
_told = mmap.mmap(-1, 2)


def announce_shutdown() -> None:
    """Called in the worker's main process: its children finish what they can and take nothing new."""
    _told[0] = 1


def signalled() -> bool:
    """Was this process itself, and not only its worker, told by a signal to end?"""
    return bool(terminate_handler_fired())


def going_down() -> bool:
    """Is the worker told to end, or this process of it?"""
    return _told[0] == 1 or signalled()


def announce_drain(*, draining: bool) -> None:
    """Called in the worker's main process: its children take nothing new while it is drained."""
    _told[1] = int(draining)


def takes_more() -> bool:
    """May this process begin another attempt?"""
    return not going_down() and _told[1] == 0


class Pulse:
    """One a process; watches one run at a time."""

    def __init__(self) -> None:
        self.wake = threading.Event()
        self._lock = threading.Lock()
        self._run: RunContext | None = None
        self._bundle: Bundle | None = None
        self._end: Callable[[RunContext, Bundle, Stopped], None] | None = None
        self._thread: threading.Thread | None = None
        self._ear: Ear | None = None
        self._looks_at = math.inf
        self._reset(0.0)

    def _reset(self, now: float) -> None:
        self._next_beat = now + settings.JOBSITE_BEAT
        self._next_report = now
        self._end_at: float | None = None
        self._warned = False
        self._leave_at: float | None = None

    def watch(self, run: RunContext, bundle: Bundle, end: Callable[[RunContext, Bundle, Stopped], None]) -> None:
        """Begin with `run`, which is of `bundle`. `end` records the end of a run that did not come to its end by itself."""
        with self._lock:
            self._run, self._bundle, self._end = run, bundle, end
            self._reset(time.monotonic())
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name="pulse", daemon=True)
            self._thread.start()
        # Waking it costs a brief job more than all the rest here; while jobs follow one another it looks often enough by itself.
        if self._looks_at > min(self._next_mark(run), time.monotonic() + OFTEN):
            self.wake.set()

    def release(self) -> None:
        """The tool came to its end. Waits for a beat under way, so that none comes after the finish."""
        with self._lock:
            self._run = None

    def end(self) -> None:
        """End the thread and its connection; a later `watch` begins anew."""
        thread, self._thread = self._thread, None
        if self._ear is not None:
            self._ear.closing.set()
            self._ear = None
        if thread is not None:
            self.wake.set()
            thread.join()

    def _loop(self) -> None:
        quiet_since = time.monotonic()
        while self._thread is threading.current_thread():
            with self._lock:
                run, bundle = self._run, self._bundle
                now = time.monotonic()
                quiet_since = now if run else quiet_since
                pause = self._tend(run, bundle) if run and bundle else None if now - quiet_since > BUSY_FOR else OFTEN
                self._looks_at = math.inf if pause is None else time.monotonic() + pause
            self.wake.wait(pause)
            # The rate limit for reports: what comes meanwhile is carried by the next one.
            if self._run is not None and time.monotonic() < self._next_report and not self._due():
                time.sleep(max(0.0, self._next_report - time.monotonic()))
            self.wake.clear()
        connection.close()

    def hurry(self, attempt_ids: list[int]) -> None:
        """These attempts were told to stop: if one of them runs here, its beat is due now."""
        run = self._run
        if run is not None and run.running.attempt_id in attempt_ids:
            self._next_beat = 0.0
            self.wake.set()

    def _due(self) -> bool:
        return time.monotonic() >= self._next_beat

    def _tend(self, run: RunContext, bundle: Bundle) -> float:
        """Do what is due; returns the seconds until something is due again."""
        now = time.monotonic()
        if bundle.is_overdue(now):
            self._hand_back(bundle)
        if run.dirty and now >= self._next_report:
            self._report(run, now)
        if now >= self._next_beat:
            self._beat(run)
        if run.guard is not None and now >= run.guard.next_look:
            self._watch_memory(run, run.guard)
        if now >= run.folder.next_look:
            self._watch_disk(run)
        if now >= run.checkpoints.due_at:
            run.checkpoints.keep()
        self._watch_time(run, now)
        now = time.monotonic()
        # A brief job is over before anybody could have told it to stop.
        if self._ear is None and now - run.began >= OFTEN:
            self._ear = Ear(self.hurry)
            self._ear.start()
        return max(
            0.0,
            min(self._next_mark(run), now + OFTEN if bundle.is_overdue(math.inf) or now - run.began < OFTEN else math.inf) - now,
        )

    def _next_mark(self, run: RunContext) -> float:
        memory = run.guard.next_look if run.guard is not None else math.inf
        beside = min(memory, run.folder.next_look, run.checkpoints.due_at)
        return min(self._next_beat, self._end_at or self._next_beat, self._time_mark(run), beside)

    def _time_mark(self, run: RunContext) -> float:
        if run.told_to_stop:
            return self._next_beat
        return run.deadline if self._warned else run.began + WARN_AT * (run.deadline - run.began)

    @staticmethod
    def _hand_back(bundle: Bundle) -> None:
        try:
            bundle.hand_back()
        except (DatabaseError, InterfaceError) as error:
            log.warning("could not hand back what waits behind a long job, tried again: %s", error)
            connection.close()

    def _report(self, run: RunContext, now: float) -> None:
        run.dirty = False
        redis_link.publish(redis_link.LIVE_CHANNEL, run.delta(run.unseen_lines()))
        self._next_report = now + REPORT_EVERY

    def _beat(self, run: RunContext) -> None:
        run.meter.sample()
        lines = run.take_lines()
        failpoint("beat.before")
        try:
            answer = lifecycle.beat(run.running, run.news(lines), lease=settings.JOBSITE_LEASE)
        except (DatabaseError, InterfaceError) as error:
            log.warning("beat of %s failed, tried again: %s", run.id, error)
            connection.close()
            run.put_back(lines)
            self._next_beat = time.monotonic() + settings.JOBSITE_BEAT / 2
            return
        self._next_beat = time.monotonic() + settings.JOBSITE_BEAT
        if answer is None:
            lifecycle.note_refused(run.running)
            self._stop(run, Superseded("another attempt has taken over"))
        elif answer[0]:
            run.running.job.cancel_reason = answer[1]
            self._stop(run, Cancelled(answer[1]))

    def _watch_memory(self, run: RunContext, guard: Guard) -> None:
        exceeded = guard.is_exceeded()
        run.meter.note_memory(guard.used_mb)
        if exceeded:
            # By force at once: it may grow by gigabytes within a grace, and only the end of the process gives all of it back.
            run.tell_to_stop(OverMemory(f"it held {guard.used_mb:.0f} MB, and may hold {guard.allowed_mb:g} MB"))
            self._end_by_force(run, run.told_to_stop or OverMemory())

    def _watch_disk(self, run: RunContext) -> None:
        folder = run.folder
        if folder.is_exceeded() and run.told_to_stop is None:
            self._stop(run, OverDisk(f"its folder holds {folder.used_mb:.0f} MB, and may hold {folder.allowed_mb} MB"))
            self._raise_in_tool(run)

    def _watch_time(self, run: RunContext, now: float) -> None:
        seconds = run.deadline - run.began
        if not self._warned and now >= run.began + WARN_AT * seconds:
            self._warned = True
            run.diagnostic(f"80 % of the allowed {seconds:g} s are used")
        if now >= run.deadline and run.told_to_stop is None:
            self._stop(run, TimedOut(_late(run, seconds)))
            self._raise_in_tool(run)
        if going_down():
            self._leave_at = self._leave_at or now + settings.JOBSITE_GRACE
            if now >= self._leave_at:
                self._stop(run, Interrupted("the worker is stopped"))
        if self._end_at is not None and now >= self._end_at and run.told_to_stop is not None:
            self._end_by_force(run, run.told_to_stop)

    def _stop(self, run: RunContext, stop: Stopped) -> None:
        run.tell_to_stop(stop)
        if self._end_at is None:
            self._end_at = time.monotonic() + settings.JOBSITE_GRACE

    @staticmethod
    def _raise_in_tool(run: RunContext) -> None:
        if run.in_tool:
            signal.pthread_kill(threading.main_thread().ident or 0, WAKE_SIGNAL)

    def _end_by_force(self, run: RunContext, stop: Stopped) -> None:
        """Children first, then the record, then ourselves: the slot is free only when nothing of the job runs."""
        log.warning("%s is ended with its process: %s", run.id, stop)
        end_descendants()
        try:
            if self._end is not None and self._bundle is not None:
                self._end(run, self._bundle, stop)
            connection.close()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)


def _late(run: RunContext, seconds: float) -> str:
    if run.deadline == run.running.of_use_until:
        return "it was not done when it was of no use any more (expiresAt)"
    return f"not done within {seconds:g} s"
