"""Answers a search over any number of jobs in bounded time.

One term that an index serves leads: at most WINDOW of its jobs, newest first, are looked at, and all other terms are held against
these. A page that is not full by then says how far it has looked, and its cursor goes on from there. So a page costs the same few
milliseconds whatever is asked, and nothing is ever left out without a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from typing import Any

from django.db import connection

from jobs.listing import cursor_of, read_cursor
from jobs.models import Job
from jobs.search.language import Search, Term
from jobs.sight import Sight
from jobs.states import Priority

# Rows that one page looks at. Measured with a million jobs: the newest 20,000 of all cost 20 to 40 ms whatever is asked; but those
# of one project lie scattered, and cost 50 ms, or 270 where the attempts of each are looked up. So many cost 60 then.
WINDOW = 5_000
MOST = 100
# In this order: the first that is asked for plainly leads. Each has an index with created_at.
LEADS = ("batch", "project", "status", "tool")
COLUMNS = {
    "status": "j.status",
    "tool": "j.tool",
    "project": "j.project",
    "batch": "j.batch",
    "operation": "j.operation",
    "gate": "j.gate",
    "by": "j.submitted_by",
    "queue": "j.queue",
    "key": "j.concurrency_key",
    "id": "j.id",
}
_TEXT = "concat_ws(' ', j.id, j.tool, j.project, j.batch, j.task_id, j.submitted_by, j.stage, j.message, j.reason)"
_RAN = "EXTRACT(EPOCH FROM COALESCE(j.finished_at, now()) - j.started_at)"
_NUMBERS = {"attempts": "j.attempt_count", "progress": "j.progress", "duration": _RAN}
_NEWEST = "ORDER BY j.created_at DESC, j.id DESC"
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_PAYLOADS = {"params", "result", "diagnostics", "metadata"}
_LINE = "left(j.params::text, 160) AS params_line"
_WORKER = "(SELECT worker FROM jobs_attempt a WHERE a.id = j.current_attempt_id) AS worker"
_SHOWN = ", ".join(f"j.{f.column}" for f in Job._meta.concrete_fields if f.column not in _PAYLOADS)


@dataclass(frozen=True, kw_only=True)
class Found:
    """Jobs, newest first. `next_cursor` is "" at the end. `looked_back_to`: so far, and the page is not full yet."""

    jobs: list[Job]
    next_cursor: str
    looked_back_to: datetime | None = None


@dataclass(kw_only=True)
class _Where:
    """Conditions and their values, in order."""

    sql: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def add(self, sql: str, *values: Any) -> None:
        self.sql.append(sql)
        self.values.extend(values)

    def __str__(self) -> str:
        return " AND ".join(self.sql) or "TRUE"


def find(search: Search, sight: Sight, *, cursor: str = "", size: int = 50) -> Found:
    """One page, in at most two queries. Raises `InvalidRequest` for a cursor that is not one of ours."""
    size = max(1, min(size, MOST))
    window = _Window(search, sight, read_cursor(cursor) if cursor else None)
    rows = list(Job.objects.raw(*window.page(size + 1)))
    if len(rows) > size:
        return Found(jobs=rows[:size], next_cursor=cursor_of(rows[size - 1].created_at, rows[size - 1].pk))
    end = window.end()
    return Found(jobs=rows, next_cursor=cursor_of(*end) if end else "", looked_back_to=end[0] if end else None)


def matching(search: Search, sight: Sight, ids: Sequence[str]) -> list[Job]:
    """Of these jobs those that match and may be seen, newest first. One query."""
    wanted = [job for job in ids if "\x00" not in job][:MOST]
    return list(Job.objects.raw(*_Window(search, sight, None, ids=wanted).page(MOST))) if wanted else []


def walk(search: Search, sight: Sight, *, before: datetime | None = None) -> Iterator[list[str]]:
    """The ids of all that match, newest first, a window at a time; only of jobs made until `before`."""
    place: tuple[datetime, str] | None = (before, "\U0010ffff") if before else None
    while True:
        window = _Window(search, sight, place)
        yield window.ids()
        place = window.end()
        if place is None:
            return


def count(search: Search, sight: Sight, *, seconds: float = 1.0) -> tuple[int, bool]:
    """How many match, and whether that is all of them: counting ends after so many seconds."""
    began, number = monotonic(), 0
    for ids in walk(search, sight):
        number += len(ids)
        if monotonic() - began > seconds:
            return number, False
    return number, True


class _Window:
    """The rows looked at, as SQL. Values are always parameters; what is put together is constants of this module."""

    def __init__(
        self, search: Search, sight: Sight, place: tuple[datetime, str] | None, *, ids: Sequence[str] | None = None
    ) -> None:
        self._inner, self._outer = _Where(), _Where()
        plain = {t.key: t for t in search.terms if _is_plain(t) and ids is None}
        lead = next((plain[key] for key in LEADS if key in plain), None)
        if ids is not None:
            self._inner.add("j.id = ANY(%s::text[])", list(ids))
        if lead is not None:
            self._inner.add(f"{COLUMNS[lead.key]} = %s", lead.values[0])
            if lead.key in ("batch", "project"):
                self._inner.add(f"{COLUMNS[lead.key]} <> ''")  # their indexes leave out jobs without one
        for term in search.terms:
            if term is not lead:
                _hold(self._inner if term.key == "age" else self._outer, term)
        if sight.projects is not None:
            where = self._inner if lead is None and len(sight.projects) == 1 else self._outer
            where.add("j.project = ANY(%s) AND j.project <> ''", sorted(sight.projects))
        if sight.tools is not None:
            self._outer.add("j.tool = ANY(%s)", sorted(sight.tools))
        if place is not None:
            # As a row comparison, which the index answers by itself.
            self._inner.add("(j.created_at, j.id) < (%s, %s)", *place)

    def _rows(self, columns: str) -> str:
        return f"SELECT {columns} FROM jobs_job j WHERE {self._inner} {_NEWEST} LIMIT {WINDOW}"

    def page(self, most: int) -> tuple[str, list[Any]]:
        sql = f"SELECT {_SHOWN}, {_LINE}, {_WORKER} FROM ({self._rows('j.*')}) j WHERE {self._outer}"
        return f"{sql} {_NEWEST} LIMIT {most}", [*self._inner.values, *self._outer.values]

    def ids(self) -> list[str]:
        sql = f"SELECT j.id FROM ({self._rows('j.*')}) j WHERE {self._outer} {_NEWEST}"
        return [row[0] for row in _fetched(sql, [*self._inner.values, *self._outer.values])]

    def end(self) -> tuple[datetime, str] | None:
        """The last row that was looked at; None when there are no older ones."""
        sql = f"SELECT j.created_at, j.id FROM jobs_job j WHERE {self._inner} {_NEWEST} LIMIT 1 OFFSET {WINDOW - 1}"
        return next(((at, job) for at, job in _fetched(sql, self._inner.values)), None)


def _fetched(sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


def _is_plain(term: Term) -> bool:
    return not term.negated and term.operator == "=" and len(term.values) == 1 and not term.values[0].endswith("*")


def _hold(where: _Where, term: Term) -> None:
    """Add what the term asks for."""
    made = _Where()
    if term.key == "age":
        # What is younger was created later.
        made.add(f"j.created_at {_TURNED[term.operator]} now() - make_interval(secs => %s)", term.seconds)
    elif term.key in _NUMBERS:
        value = term.seconds if term.key == "duration" else float(term.values[0])
        made.add(f"{_NUMBERS[term.key]} {term.operator} %s", value)
    elif term.key == "priority":
        _any(made, "array_position(%s::text[], j.priority::text) {} array_position(%s::text[], %s)", term)
    elif term.key in ("error", "worker"):
        _tried(made, term)
    else:
        _named(made, term)
    # What is not known (a job that never ran has no duration) is no match, and so a match of the negation.
    where.add(f"({made}) IS NOT TRUE" if term.negated else f"({made})", *made.values)


def _any(where: _Where, sql: str, term: Term) -> None:
    ranks = list(Priority.values)
    each = [value for named in term.values for value in (ranks, ranks, named)]
    where.add(" OR ".join([sql.format(term.operator)] * len(term.values)), *each)


def _tried(where: _Where, term: Term) -> None:
    """An attempt of the job had this error or worker. Most jobs met no error, which their own row tells."""
    column = {"error": "error_class", "worker": "worker"}[term.key]
    inner = _Where()
    _alike(inner, f"a.{column}", term.values)
    where.add("j.attempt_count > 0")
    if term.key == "error":
        where.add("(j.status <> 'completed' OR j.retry_count > 0)")
    where.add(f"EXISTS (SELECT 1 FROM jobs_attempt a WHERE a.job_id = j.id AND ({inner}))", *inner.values)


def _named(where: _Where, term: Term) -> None:
    if not term.key:
        where.add(f"{_TEXT} ILIKE %s", f"%{_escaped(term.values[0])}%")
    elif term.path:
        made = _Where()
        _alike(made, "j.params #>> path.names", term.values)
        where.add(f"(SELECT {made} FROM (SELECT %s::text[] AS names) path)", *made.values, term.path)
    else:
        _alike(where, COLUMNS[term.key], term.values)


def _alike(where: _Where, column: str, values: Sequence[str]) -> None:
    """One of the values, or what begins with one that ends in a star."""
    exact = [value for value in values if not value.endswith("*")]
    begins = [_escaped(value[:-1]) + "%" for value in values if value.endswith("*")]
    where.add(f"({column} = ANY(%s::text[]) OR {column} LIKE ANY(%s::text[]))", exact, begins)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
