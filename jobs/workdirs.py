"""Temporary folders of jobs: `job.workdir`. One an attempt, made when it is first asked for, gone with the attempt."""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from jobs.models import Attempt
from jobs.states import AttemptState

log = logging.getLogger(__name__)

MB = 1024 * 1024
# Looks at what a folder holds: the first, the least time between two (seconds), and how much rarer than they take.
FIRST, LEAST, RARER = 0.25, 0.25, 20.0


def root() -> Path:
    """The folder of this site's folders. Sites that share a disk are told apart as they are in Redis."""
    return Path(settings.JOBSITE_WORKDIR) / settings.REDIS_PREFIX


class Workdir:
    """Of one attempt. The tool's thread makes it, the pulse's thread looks at its size where the job named a diskMB."""

    def __init__(self, attempt_id: int, disk_mb: int) -> None:
        self._attempt_id = attempt_id
        self._path: Path | None = None
        self.allowed_mb = disk_mb
        self.used_mb = 0.0
        self.next_look = math.inf

    def path(self) -> Path:
        """Made now, if it is not there: for this user only."""
        if self._path is None:
            path = root() / str(self._attempt_id)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Of an attempt with this number, from before a backup was restored.
            _remove(path)
            path.mkdir(mode=0o700)
            self._path = path
            self.next_look = time.monotonic() + FIRST if self.allowed_mb else math.inf
        return self._path

    def is_exceeded(self) -> bool:
        """Look now."""
        began = time.monotonic()
        self.used_mb = sum(_sizes(self._path)) / MB if self._path else 0.0
        now = time.monotonic()
        self.next_look = now + max(LEAST, RARER * (now - began))
        return self.used_mb > self.allowed_mb

    def remove(self) -> None:
        """What cannot be removed now is left to `sweep`."""
        if self._path is not None:
            self.next_look = math.inf
            _remove(self._path)


def sweep() -> int:
    """Remove the folders of attempts that run no longer, whatever became of their processes; how many."""
    try:
        found = {int(entry.name) for entry in os.scandir(root()) if entry.name.isdecimal()}
    except FileNotFoundError:
        return 0
    if not found:
        return 0
    running = Attempt.objects.filter(pk__in=found, state=AttemptState.RUNNING).values_list("pk", flat=True)
    return sum(_remove(root() / str(attempt)) for attempt in found.difference(running))


def _sizes(folder: Path) -> Iterator[int]:
    """What each file takes on the disk; links are not followed. What goes while it is looked at counts no more."""
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                yield os.lstat(Path(place) / name).st_blocks * 512
            except OSError:
                continue


def _remove(path: Path) -> bool:
    """Also where its owner has forbidden itself to write."""
    if not path.is_dir():
        return False
    shutil.rmtree(path, ignore_errors=True)
    if path.is_dir():
        for place, _, _ in os.walk(path):
            _allow(Path(place))
        shutil.rmtree(path, ignore_errors=True)
    if path.is_dir():
        log.warning("%s could not be removed, tried again later", path)
        return False
    return True


def _allow(folder: Path) -> None:
    try:
        folder.chmod(0o700)
    except OSError as error:
        log.warning("%s: %s", folder, error)
