"""Up to which event the log is complete.

Ids are given before commits: an event with a smaller id may become visible after one with a greater id was read, and a reader
that had gone past it would never see it. So: 1. read the last id that was given; 2. take a transaction id, which is greater than
that of everybody who holds an id up to there, because each verb writes its job before its event (a snapshot's xmax would not do:
who runs may have a greater id); 3. once no transaction below that one is running, everything up to the id is there or will never
be.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection


@dataclass(frozen=True, kw_only=True)
class Horizon:
    """The log is complete up to the id `event` once no transaction with an id below `xid` is running."""

    event: int
    xid: int

    @property
    def is_reached(self) -> bool:
        return self.xid <= _one("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")


def beyond(event: int) -> Horizon | None:
    """The end of the log as it is now; None when nothing came after `event`. To be called outside of a transaction."""
    last = _one("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM jobs_event_id_seq")
    return Horizon(event=last, xid=_one("SELECT pg_current_xact_id()::text::bigint")) if last > event else None


def _one(sql: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return int(cursor.fetchone()[0])
