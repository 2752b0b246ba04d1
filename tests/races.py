"""Several clients at the same moment, each on a connection of its own."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from django.db import connection, transaction


def race(count, act):
    """Call `act(n)` from `count` threads as nearly at once as can be; returns what they returned."""
    gate = threading.Barrier(count)

    def run(n):
        try:
            gate.wait()
            return act(n)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def overlap(first, second):
    """Call `first()` in a transaction that stays open until `second()`, on another connection, is done or waits for its locks."""
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            first()
            later = pool.submit(_on_its_own, second)
            while not later.done() and not _somebody_waits():
                time.sleep(0.005)
        return later.result()


def _on_its_own(act):
    try:
        return act()
    finally:
        connection.close()


def _somebody_waits():
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid)))")
        return cursor.fetchone()[0]
