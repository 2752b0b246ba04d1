"""What a tool leaves of its work for the next attempt: `job.checkpoint(data)`, and `job.checkpoint_data` then."""

from __future__ import annotations

import logging
import math
import threading
import time

import orjson
from django.db import DatabaseError, InterfaceError, connection

from jobs import lifecycle
from jobs.lifecycle import Running
from jobs.models import Job
from jobs.payloads import Json, storable

log = logging.getLogger(__name__)

MAX_CHECKPOINT = 256 * 1024
# It is stored at most so often; seconds. What comes in between takes the place of what waits.
KEEP_EVERY = 1.0


def of(job_id: str) -> Json:
    """What the attempt before this one left, or one before that; None: nothing."""
    return Job.objects.filter(pk=job_id).values_list("checkpoint", flat=True).first()


def encoded(data: Json) -> str:
    """As it is stored: made storable, secrets covered. Raises `ValueError` for what is too large, of which a part is no use."""
    return _covered(_snapshot(data))


def _snapshot(data: Json) -> bytes:
    """As it is now, whatever the tool does with it afterwards; costs a hundredth of covering it."""
    try:
        text = orjson.dumps(data)
    except TypeError:
        text = orjson.dumps(storable(data, max_bytes=2**62)[0])
    if len(text) > MAX_CHECKPOINT:
        raise ValueError(f"a checkpoint has at most {MAX_CHECKPOINT} bytes, this one {len(text)}: keep a file, and its name here")
    return text


def _covered(snapshot: bytes) -> str:
    return orjson.dumps(storable(orjson.loads(snapshot), max_bytes=2**62)[0]).decode()


class Checkpoints:
    """Of one attempt. The tool's thread puts, the pulse's thread keeps; before an end that may not be the last the child keeps."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._waiting: bytes | None = None
        self._kept_at = -math.inf
        self._lock = threading.Lock()  # held while one is written, so that none is overwritten by one before it

    def put(self, data: Json) -> bool:
        """Does nothing else wait to be kept? Raises `ValueError` for what is too large."""
        first, self._waiting = self._waiting is None, _snapshot(data)
        return first

    @property
    def due_at(self) -> float:
        """Monotonic seconds; infinite where nothing waits."""
        return math.inf if self._waiting is None else self._kept_at + KEEP_EVERY

    def keep(self) -> None:
        """Store what waits. A database that is away is tried again, and a superseded attempt stores nothing."""
        with self._lock:
            snapshot, self._waiting = self._waiting, None
            if snapshot is None:
                return
            self._kept_at = time.monotonic()
            try:
                lifecycle.keep_checkpoint(self._running, _covered(snapshot))
            except (DatabaseError, InterfaceError) as error:
                log.warning("a checkpoint of %s was not stored, tried again: %s", self._running.job.id, error)
                connection.close()
                self._waiting = self._waiting or snapshot
