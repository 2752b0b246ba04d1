"""All that a search finds, as a file that is written while it is read: any number of jobs costs one window of memory."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from dashboard.views.jobs import asked
from jobs import queries, sealing
from jobs.models import Job
from jobs.search import BadSearch, Search, walk
from jobs.sight import Sight, sight_of

CHUNK = 500
COLUMNS = (
    *("id", "tool", "status", "priority", "operation", "project", "batch", "progress", "message", "reason", "attempt_count"),
    *("submitted_by", "created_at", "started_at", "finished_at"),
)


@require_GET
async def export(request: HttpRequest, form: str) -> HttpResponse | StreamingHttpResponse:
    try:
        search = asked(request)
    except BadSearch as refused:
        return HttpResponse(str(refused), status=422, content_type="text/plain; charset=utf-8")
    sight = await sync_to_async(sight_of)(await request.auser())
    write, kind = {"csv": (_as_csv, "text/csv"), "json": (_as_json, "application/json")}[form]
    name = f"jobs-{timezone.now():%Y%m%d-%H%M}.{form}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(write(_chunks(search, sight)), content_type=f"{kind}; charset=utf-8", headers=headers)


async def _chunks(search: Search, sight: Sight) -> AsyncIterator[list[Job]]:
    pages = walk(search, sight)
    following: Callable[[], list[str] | None] = lambda: next(pages, None)  # noqa: E731  (StopIteration may not leave a coroutine)
    while (ids := await sync_to_async(following)()) is not None:
        for first in range(0, len(ids), CHUNK):
            yield await sync_to_async(queries.whole)(ids[first : first + CHUNK])


def _row(job: Job) -> dict[str, Any]:
    values = {name: getattr(job, name) for name in COLUMNS}
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in values.items()}


async def _as_csv(chunks: AsyncIterator[list[Job]]) -> AsyncIterator[bytes]:
    yield _line([*COLUMNS, "params"])
    async for jobs in chunks:
        yield b"".join(_line([*_row(job).values(), json.dumps(job.params, ensure_ascii=False)]) for job in jobs)


def _line(cells: Sequence[Any]) -> bytes:
    line = io.StringIO()
    csv.writer(line).writerow([_harmless(cell) for cell in cells])
    return line.getvalue().encode()


def _harmless(cell: Any) -> Any:
    """A spreadsheet would run what begins like a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


async def _as_json(chunks: AsyncIterator[list[Job]]) -> AsyncIterator[bytes]:
    yield b"["
    first = True
    async for jobs in chunks:
        for job in jobs:
            row = _row(job) | {"params": sealing.covered(job.params)}
            yield (b"" if first else b",") + b"\n" + json.dumps(row, ensure_ascii=False).encode()
            first = False
    yield b"\n]\n"
