"""Finished jobs are kept for a while, then removed: in small batches, beside the rounds of the dispatcher, never under a reader."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, transaction

from jobs import lifecycle, outbox, rollup

log = logging.getLogger(__name__)

# Jobs of one transaction: some tens of milliseconds.
BATCH = 200


def remove_old(*, older_than: timedelta | None = None, most: int = BATCH, before: Callable[[list[str]], None] | None = None) -> int:
    """Remove the oldest finished jobs, one batch in one short transaction; returns how many.

    `before` is called with their ids while they are locked and still there; what it raises keeps them.
    """
    kept = settings.JOBSITE_RETENTION if older_than is None else older_than
    with transaction.atomic():
        ids = lifecycle.lock_removable(older_than=kept, counted=_used_up_to(), most=most)
        if ids and before is not None:
            before(ids)
        return lifecycle.remove(ids)


def _used_up_to() -> int:
    """Later events are not rolled up yet, or some subscriber has not been told them."""
    told = outbox.told_up_to()
    counted = rollup.counted_up_to()
    return counted if told is None else min(counted, told)


class Removal(threading.Thread):
    """Runs in the leading dispatcher, on a connection of its own, so that no round waits for it."""

    def __init__(self) -> None:
        super().__init__(name="retention", daemon=True)
        self.stopping = threading.Event()

    def run(self) -> None:
        pause = 1.0
        while not self.stopping.wait(pause):
            began = time.monotonic()
            try:
                removed = remove_old()
            except (DatabaseError, InterfaceError) as error:
                log.warning("old jobs are removed later: %s", error)
                connection.close()
                removed = 0
            # At most half of the time while much is left: the database has other work.
            pause = max(0.05, time.monotonic() - began) if removed == BATCH else settings.JOBSITE_CLEANUP
        connection.close()
