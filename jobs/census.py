"""How many jobs of each group hold a slot, and how many started lately: counted from rows, each time."""

from __future__ import annotations

from collections import Counter

from django.db import connection

from jobs.limits import Group
from jobs.room import groups_of

# Live attempts are few; starts of the last minute are kept apart by a partial index for groups that have such a limit.
_CENSUS = """
SELECT tool, operation, project, j.concurrency_key, j.queue, count(*) FILTER (WHERE state IN ('admitted', 'running')),
    count(*) FILTER (WHERE rated AND admitted_at > now() - interval '60 seconds'
        AND (a.started_at IS NOT NULL OR state = 'admitted'))  -- one that was taken back is no start
FROM jobs_attempt a JOIN jobs_job j ON j.id = a.job_id
WHERE (state IN ('admitted', 'running') AND a.queue <> 'standard') OR (rated AND admitted_at > now() - interval '60 seconds')
GROUP BY 1, 2, 3, 4, 5
"""


def census() -> tuple[Counter[Group], Counter[Group]]:
    """How many of each group hold a slot, and how many were admitted in the last minute."""
    running: Counter[Group] = Counter()
    started: Counter[Group] = Counter()
    with connection.cursor() as cursor:
        cursor.execute(_CENSUS)
        for *names, live, lately in cursor.fetchall():
            for group in groups_of(*names):
                running[group] += live
                started[group] += lately
    return running, started
