"""How many jobs there are of each kind, without counting them: triggers on jobs_job keep the difference of every change."""

from __future__ import annotations

from collections.abc import Collection

from django.db import connection
from django.db.models import QuerySet, Sum

from jobs.briefly import briefly
from jobs.models import Tally
from jobs.states import Gate, Status


def by_status(*, project: str = "") -> dict[str, int]:
    """Jobs by status, of all or of one project, as the reader's snapshot has them; every status is there."""
    return dict.fromkeys(Status.values, 0) | _sums(
        "status", Tally.objects.filter(project=project) if project else Tally.objects.all()
    )


# The columns are never null, so of each row the one that is not tells which set it belongs to.
_EACH = """
SELECT tool, operation, priority, project, sum(n) FROM jobs_tally
GROUP BY GROUPING SETS ((tool), (operation), (priority), (project)) HAVING sum(n) > 0
"""
EACH = ("tool", "operation", "priority", "project")


@briefly(2.0)
def by_each() -> dict[str, dict[str, int]]:
    """Jobs by tool, operation, priority and project: all four in one pass, for all who look at this process."""
    found: dict[str, dict[str, int]] = {column: {} for column in EACH}
    with connection.cursor() as cursor:
        cursor.execute(_EACH)
        for *names, number in cursor.fetchall():
            column, name = next((column, name) for column, name in zip(EACH, names, strict=True) if name is not None)
            if name:
                found[column][name] = int(number)
    return found


def pending_by_gate(projects: Collection[str] | None = None) -> dict[str, int]:
    pending = Tally.objects.filter(status=Status.PENDING)
    return dict.fromkeys(Gate.values, 0) | _sums("gate", pending if projects is None else pending.filter(project__in=projects))


def _sums(column: str, rows: QuerySet[Tally]) -> dict[str, int]:
    return dict(rows.values_list(column).annotate(number=Sum("n")).order_by())


# Rows are only ever added and merged, never changed by two: who comes second finds them gone and waits for nobody.
_MERGE = """
WITH gone AS (
    DELETE FROM jobs_tally WHERE NOT kept RETURNING status, gate, tool, operation, priority, project, n
), sums AS (
    SELECT status, gate, tool, operation, priority, project, sum(n) AS n FROM gone GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(n) <> 0
)
INSERT INTO jobs_tally (status, gate, tool, operation, priority, project, kept, n)
SELECT status, gate, tool, operation, priority, project, TRUE, n FROM sums
ON CONFLICT (status, gate, tool, operation, priority, project) WHERE kept DO UPDATE SET n = jobs_tally.n + EXCLUDED.n
"""


def merge() -> None:
    """Add the differences up, so that reading them stays cheap."""
    with connection.cursor() as cursor:
        cursor.execute(_MERGE)


_OFF = """
WITH counted AS (
    SELECT status, CASE status WHEN 'pending' THEN gate ELSE '' END AS gate, tool, operation, priority, project, count(*) AS n
    FROM jobs_job GROUP BY 1, 2, 3, 4, 5, 6
), kept AS (
    SELECT status, gate, tool, operation, priority, project, sum(n) AS n FROM jobs_tally GROUP BY 1, 2, 3, 4, 5, 6
), off AS (
    SELECT status, gate, tool, operation, priority, project, COALESCE(kept.n, 0) AS told, COALESCE(counted.n, 0) AS n
    FROM counted FULL JOIN kept USING (status, gate, tool, operation, priority, project)
    WHERE COALESCE(kept.n, 0) <> COALESCE(counted.n, 0)
)
"""


def off() -> list[tuple[str, str, int, int]]:
    """Where the tally is not what a count of all jobs says: (status, tool, the tally, the count). Reads every job."""
    with connection.cursor() as cursor:
        cursor.execute(_OFF + "SELECT status, tool, told::bigint, n FROM off ORDER BY 1, 2 LIMIT 100")
        return [(str(status), str(tool), int(told), int(n)) for status, tool, told, n in cursor.fetchall()]


def correct() -> bool:
    """Add the difference to what a count says; one statement, so changes that come meanwhile count as always."""
    with connection.cursor() as cursor:
        cursor.execute(
            _OFF + "INSERT INTO jobs_tally (status, gate, tool, operation, priority, project, kept, n)"
            " SELECT status, gate, tool, operation, priority, project, FALSE, n - told FROM off"
        )
        return bool(cursor.rowcount)
