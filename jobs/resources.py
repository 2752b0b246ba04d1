"""What a job really uses: memory and CPU of its whole process tree, measured."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Collection, Iterable, Iterator

import psutil

log = logging.getLogger(__name__)

MB = 1024 * 1024
# Looking for descendants walks the system's process table (milliseconds); the own figures cost microseconds.
TREE_EVERY = 1.0
MOST_SAMPLES = 60
# For how long what a job left behind is ended again and again, in passes of so many seconds.
PATIENCE, PASS = 3.0, 0.1
_PR_SET_CHILD_SUBREAPER = 36


@functools.cache
def _this_process(pid: int) -> psutil.Process:
    return psutil.Process(pid)


class Meter:
    """Measures one attempt in this process.

    Memory is the resident size of the tree above what the idle child itself took: a worker's libraries are not the
    job's. CPU is the tree's user and system time; 100 percent is one core.
    """

    # Of this process, from before it ran its first job: its children and its memory. Not the moment: the kernel's clock of when
    # processes began is up to a second off the one that programs read.
    bystanders: frozenset[psutil.Process] = frozenset()
    _idle_rss: int | None = None

    def __init__(self) -> None:
        self._own = _this_process(os.getpid())
        if Meter._idle_rss is None:
            Meter.bystanders = frozenset(self._own.children())
            Meter._idle_rss = self._own.memory_info().rss
        self._began = time.monotonic()
        self._cpu_before = _own_cpu()
        self._children: dict[psutil.Process, float] = {}
        self._looked = self._began
        self.peak_memory_mb = 0.0
        self.cpu_percent = 0.0
        # What it took over time: [seconds, MB, percent since the sample before]. Full, every other one goes.
        self.series: list[tuple[float, float, float]] = []
        self._last = (self._began, 0.0)

    def sample(self, *, final: bool = False) -> None:
        """Take the figures now; descendants are looked for at most once a second."""
        now = time.monotonic()
        if now - self._looked >= TREE_EVERY:
            self._looked = now
            if _has_dead_children():
                _bury_adopted()
            for child in self.descendants():
                self._children.setdefault(child, 0.0)
        rss = self._own.memory_info().rss - (Meter._idle_rss or 0)
        for child in self._children:
            with contextlib.suppress(psutil.Error):
                self._children[child] = max(self._children[child], self._cpu_of(child))
                rss += child.memory_info().rss
        self.peak_memory_mb = max(self.peak_memory_mb, rss / MB, 0.0)
        elapsed = now - self._began
        if elapsed > 0.01 or final:
            spent = _own_cpu() - self._cpu_before + sum(self._children.values())
            self.cpu_percent = round(100 * spent / max(elapsed, 0.001), 1)
            if not final:
                self._note(now, rss / MB, spent)

    def _note(self, now: float, megabytes: float, spent: float) -> None:
        since, before = self._last
        self._last = (now, spent)
        percent = 100 * (spent - before) / max(now - since, 0.001)
        self.series.append((round(now - self._began, 1), round(max(megabytes, 0.0), 1), round(max(percent, 0.0), 1)))
        if len(self.series) > MOST_SAMPLES:
            del self.series[1:-1:2]

    def note_memory(self, used_mb: float) -> None:
        """Seen between two samples."""
        self.peak_memory_mb = max(self.peak_memory_mb, used_mb)

    def descendants(self) -> list[psutil.Process]:
        try:
            return self._own.children(recursive=True)
        except psutil.Error:
            return []

    @staticmethod
    def _cpu_of(process: psutil.Process) -> float:
        times = process.cpu_times()
        return float(times.user + times.system)


def _own_cpu() -> float:
    """Seconds of this process, all its threads; a system call where reading the process table costs ten times as much."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def adopt_orphans() -> None:
    """From now on what descends from this process stays below it, also when it forks twice or leaves its session.

    A program that makes a daemon of itself would else become a child of init, where nobody could tell whose it is.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def has_children() -> bool:
    """A microsecond, where a look at all processes costs milliseconds; leaves their ends to be waited for."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def end_descendants() -> None:
    """End what the job started and left behind: children that came after this process's first job, with all below them.

    A list of processes that fork is old when it has been read, so it is read again until nothing is there.
    """
    until = time.monotonic() + PATIENCE
    while has_children():
        left = list(_left_by_jobs(psutil.Process()))
        if not left and Meter.bystanders:
            return
        _kill(left)
        # What we adopted is ours to bury, too.
        psutil.wait_procs(left, timeout=PASS)
        if time.monotonic() > until:
            log.warning("processes of a job do not end: %s", [process.pid for process in left])
            return


def _kill(processes: Iterable[psutil.Process]) -> None:
    """By group where they have one of their own: the kernel then also gets what was forked since the list was read."""
    own = os.getpgrp()
    for process in processes:
        # It may be gone, and be known by its group all the same.
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            group = os.getpgid(process.pid) if process.is_running() else own
            if group == own:
                process.kill()
            else:
                os.killpg(group, signal.SIGKILL)


def _bury_adopted() -> None:
    """Wait for dead processes that were adopted: a tool that starts daemons which end would fill the process table.

    A child that this process forked is in its session or heads one; the tool itself waits for that one, to know how it ended.
    """
    own = os.getsid(0)
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error, ProcessLookupError, ChildProcessError):
            if child.status() == psutil.STATUS_ZOMBIE and os.getsid(child.pid) not in {own, child.pid}:
                os.waitpid(child.pid, os.WNOHANG)


def _has_dead_children() -> bool:
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


def _left_by_jobs(process: psutil.Process) -> Iterator[psutil.Process]:
    """Told by who they are, not by when they began: a clock that is set would make a new child look old."""
    for child in process.children():
        if child not in Meter.bystanders:
            with contextlib.suppress(psutil.Error):
                below = child.children(recursive=True)
                yield child
                yield from below


class Strays:
    """In a worker's main process: what a job had started whose own process was killed. It comes here, and is ended here."""

    def __init__(self) -> None:
        adopt_orphans()
        self._before = frozenset(psutil.Process().children())
        self._seen: frozenset[psutil.Process] = frozenset()

    def end(self, pool: Collection[int]) -> None:
        """End children that are none of the pool's processes. At the second look only: a new one may not be in its list yet."""
        here = frozenset(child for child in psutil.Process().children() if child.pid not in pool) - self._before
        ended: list[psutil.Process] = []
        for stray in here & self._seen:
            with contextlib.suppress(psutil.Error):
                ended += [stray, *stray.children(recursive=True)]
        _kill(ended)
        psutil.wait_procs(ended, timeout=PASS)
        self._seen = here
