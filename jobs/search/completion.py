"""What may come next in the search box: keys first, then the values that there are."""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.db import connection

from jobs import tools
from jobs.models import Worker
from jobs.search.language import KEYS, ORDERED, PARAMS, Kind, quoted
from jobs.sight import Sight

MOST = 12
_LAST = re.compile(r'(?P<minus>-?)(?:(?P<key>[a-z]+):)?(?P<sign>[<>]?=?)(?P<begun>(?:[^\s"]*,)?"?[^\s"]*)$')

# From one name to the next in the index, so that a million jobs of ten projects cost ten steps.
_NAMES = """
WITH RECURSIVE names AS (
    (SELECT {column} AS name FROM jobs_job WHERE {column} >= %(begun)s AND {column} <> '' ORDER BY {column} LIMIT 1)
    UNION ALL
    SELECT (SELECT {column} FROM jobs_job WHERE {column} > names.name AND {column} <> '' ORDER BY {column} LIMIT 1)
    FROM names WHERE names.name IS NOT NULL
)
SELECT name FROM names WHERE name IS NOT NULL LIMIT %(most)s
"""
# Of the newest attempts only: which errors are about.
_ERRORS = """
SELECT error_class FROM (SELECT error_class FROM jobs_attempt ORDER BY id DESC LIMIT 3000) a
WHERE error_class <> '' GROUP BY 1 ORDER BY count(*) DESC LIMIT 100
"""


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """`text` takes the place of the search from `start` on."""

    text: str
    about: str
    start: int


def suggest(text: str, sight: Sight) -> list[Suggestion]:
    """For a search that was typed so far. At most one query."""
    found = _LAST.search(text)
    if found is None:
        return []
    key, begun, start = found["key"], found["begun"].rpartition(",")[2].lstrip('"'), found.start()
    if key is None:
        return _keys(found["begun"], found["minus"], start) if not found["sign"] else []
    place = len(text) - len(found["begun"].rpartition(",")[2])
    return [Suggestion(text=quoted(value), about="", start=place) for value in _values(key, begun, sight)][:MOST]


def _keys(begun: str, minus: str, start: int) -> list[Suggestion]:
    names = [name for name in KEYS if name.startswith(begun)]
    made = []
    for name in names:
        sign = "<" if KEYS[name].kind == Kind.SPAN else ""
        made.append(Suggestion(text=f"{minus}{name}:{sign}", about=KEYS[name].about, start=start))
    if PARAMS.startswith(begun) and begun:
        made.append(Suggestion(text=f"{minus}{PARAMS}", about="a value in its params: params.path:src", start=start))
    return made


def _values(key: str, begun: str, sight: Sight) -> list[str]:
    known = KEYS.get(key)
    if known is None:
        return []
    if known.choices:
        return [value for value in known.choices if value.startswith(begun)]
    if known.kind in ORDERED:
        return [span for span in ("5m", "1h", "1d", "1w") if span.startswith(begun)] if known.kind == Kind.SPAN else []
    if key == "project" and sight.projects is not None:
        return [name for name in sorted(sight.projects) if name.startswith(begun)]
    match key:
        case "tool":
            return [tool.name for tool in tools.every() if tool.name.startswith(begun) and sight.covers_tool(tool.name)]
        case "worker":
            return list(Worker.objects.filter(name__startswith=begun).order_by("-beat_at").values_list("name", flat=True)[:MOST])
        case "batch" | "project" if sight.is_whole:
            return [name for name in names_of(key, begun) if name.startswith(begun)]
        case "error":
            return [name for name in _rows(_ERRORS, {}) if name.startswith(begun)]
    return []


def names_of(column: str, begun: str = "", *, most: int = MOST) -> list[str]:
    """The batches or projects that there are, in order, from `begun` on."""
    if column not in ("batch", "project"):
        raise ValueError(column)
    return _rows(_NAMES.format(column=column), {"begun": begun, "most": most})


def _rows(sql: str, values: dict[str, str | int]) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return [row[0] for row in cursor.fetchall()]
