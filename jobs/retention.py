"""Finished jobs are kept for a while, then removed: in small batches, beside the rounds of the dispatcher, never under a reader."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.db import transaction

from jobs import lifecycle, outbox, rollup

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


def remove_for_now() -> float:
    """One batch; the seconds until the next: at most half of the time while much is left, for the database has other work."""
    began = time.monotonic()
    removed = remove_old()
    return max(0.05, time.monotonic() - began) if removed == BATCH else settings.JOBSITE_CLEANUP
