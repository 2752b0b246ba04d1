"""Memory is real: what a job's process tree holds, looked at so often that a greedy one is caught soon, and cheaply."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from django.conf import settings

MB = 1024 * 1024
# A look costs about a tenth of a millisecond. The next one comes before the room that is left could be filled at this pace,
# within bounds.
FASTEST_MB_A_SECOND = 2000.0
SOONEST, LATEST = 0.02, 0.25
# The first look: brief jobs are not looked at.
FIRST = 0.1


class Guard:
    """What one attempt may hold: `memory_mb` times the factor, above what this process held when the attempt began.

    Resident sizes are summed, which is cheap, but counts pages that are shared in the tree several times; so before anything is
    said to be too much, the proportional sizes are read, which is exact and takes milliseconds.
    """

    _idle: tuple[int, int] | None = None  # resident and proportional size of this process before its first guarded job

    def __init__(self, memory_mb: int) -> None:
        self.allowed_mb = memory_mb * settings.JOBSITE_MEMORY_FACTOR
        self.used_mb = 0.0
        self._pid = os.getpid()
        self._before = _resident(self._pid)
        if Guard._idle is None:
            Guard._idle = self._before, _proportional(self._pid)
        self.next_look = time.monotonic() + FIRST

    def is_exceeded(self) -> bool:
        """Look now."""
        tree = [self._pid, *_below(self._pid)]
        self.used_mb = (_sum(tree, _resident) - self._before) / MB
        exceeded = self.used_mb > self.allowed_mb
        if exceeded:
            self.used_mb = self._exactly(tree)
            exceeded = self.used_mb > self.allowed_mb
        room = max(0.0, self.allowed_mb - self.used_mb)
        self.next_look = time.monotonic() + min(LATEST, max(SOONEST, room / FASTEST_MB_A_SECOND))
        return exceeded

    def _exactly(self, tree: list[int]) -> float:
        # What earlier jobs left in this process is its own alone, so it is as large in both ways of counting.
        idle_resident, idle_proportional = Guard._idle or (0, 0)
        left_over = max(0, self._before - idle_resident)
        return (_sum(tree, _proportional) - idle_proportional - left_over) / MB


def _sum(tree: list[int], size: Callable[[int], int]) -> int:
    total = 0
    for pid in tree:
        # It may have ended since the tree was read.
        with contextlib.suppress(psutil.Error):
            total += size(pid)
    return total


def _resident(pid: int) -> int:
    return int(psutil.Process(pid).memory_info().rss)


def _proportional(pid: int) -> int:
    sizes = psutil.Process(pid).memory_full_info()
    return int(getattr(sizes, "pss", sizes.uss))


def _below(pid: int) -> list[int]:
    """All descendants. The kernel's own lists of children cost a hundredth of a walk through the process table."""
    if not _KERNEL_LISTS.exists():
        return [process.pid for process in psutil.Process(pid).children(recursive=True)]
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = _children(waiting.pop())
        found += children
        waiting += children
    return found


_KERNEL_LISTS = Path("/proc/thread-self/children")


def _children(pid: int) -> list[int]:
    found: list[int] = []
    # A process or thread may end while it is looked at.
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (thread / "children").read_text().split())
    return found
