"""What a tool of this project says about a standard job that it runs by itself.

Every function gives False, and changes nothing, when the job does not run: it is unknown, has ended, or another attempt was begun.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from jobs import external, lifecycle, queries
from jobs.errors import Category, IllegalMove, NotFound
from jobs.external import Report, Superseded
from jobs.failures import Failure
from jobs.lifecycle import Running, Usage
from jobs.payloads import Json, clean_text, storable
from jobs.results import CHANGED, call_result
from jobs.run_context import MAX_LINE, MAX_METADATA, percent
from jobs.tools import STANDARD

# Nobody renews the lease of a tool that is silent: its time-out ends it, and the lease must not do so before. Seconds.
PAST_TIMEOUT = 60.0

# The attempts that this process began: what it says about a job is about its own, and is refused after another was begun.
_own: dict[str, int] = {}
_own_lock = threading.Lock()


def begin(job_id: str, *, by: str) -> bool:
    """The tool begins the job; true also when it runs already."""
    try:
        run = external.begin(job_id, worker=by, lease=queries.find(job_id).timeout_ms / 1000 + PAST_TIMEOUT)
    except (NotFound, IllegalMove):
        return _running(job_id) is not None
    with _own_lock:
        _own[job_id] = run.attempt_id
    return True


def tell(
    job_id: str,
    *,
    by: str,
    progress: float | None = None,
    message: str | None = None,
    stage: str | None = None,
    sub_progress: float | None = None,
    diagnostics: Sequence[str] = (),
    metadata: Mapping[str, Json] | None = None,
) -> bool:
    """Where the work is; what is None stays. False also when the job was told to stop: it ends here."""
    run = _running(job_id)
    if run is None:
        return False
    news = Report(
        progress=None if progress is None else percent(progress),
        message=None if message is None else clean_text(message, MAX_LINE),
        stage=None if stage is None else clean_text(stage, 200),
        sub_progress=None if sub_progress is None else percent(sub_progress),
        diagnostics=[clean_text(line, MAX_LINE) for line in diagnostics],
        metadata=storable(dict(metadata or {}), max_bytes=MAX_METADATA)[0],
    )
    try:
        cancelled, _ = external.report(run, news, lease=run.job.timeout_ms / 1000 + PAST_TIMEOUT)
    except Superseded:
        return False
    return not (cancelled and stop(job_id, by=by))


def finish(job_id: str, result: Json, *, by: str) -> bool:
    """The work is done. `result` is anything JSON, or a CallToolResult, whose `isError` fails the job."""
    shaped, changed = call_result(result)
    usage = Usage(progress=None if shaped["isError"] else 100.0, diagnostics=[CHANGED] if changed else [])
    run = _running(job_id)
    if run is None:
        return False
    try:
        return _ended(external.finish(run, shaped, usage, actor=by).pk)
    except Superseded:
        return False


def fail(job_id: str, message: str, *, error_class: str, category: Category, by: str) -> bool:
    """The work came to no good end; a job that has retries left goes back to pending, and may be begun again."""
    failure = Failure(category=category, error_class=clean_text(error_class, 200), message=clean_text(message, MAX_LINE))
    run = _running(job_id)
    if run is None:
        return False
    try:
        return _ended(external.fail(run, failure, Usage(), actor=by).pk)
    except Superseded:
        return False


def stop(job_id: str, *, by: str) -> bool:
    """End a job that was told to stop: there is no process of ours that has to come to an end first."""
    run = _running(job_id)
    return run is not None and lifecycle.stop(run, Usage(), actor=by) is not None and _ended(job_id)


def _running(job_id: str) -> Running | None:
    """The current attempt at a standard job, unless this process speaks about an earlier one."""
    attempt = queries.current_attempt(job_id)
    if attempt is None or _own.get(job_id, attempt) != attempt:
        return None
    run = lifecycle.held(attempt)
    return run if run is not None and run.job.queue == STANDARD else None


def _ended(job_id: str) -> bool:
    with _own_lock:
        _own.pop(job_id, None)
    return True
