"""Following to the end: bars, then the result, then the exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from jobsite_client.cli.bars import followed
from jobsite_client.cli.endings import Exit
from jobsite_client.cli.screen import Session
from jobsite_client.client import Client
from jobsite_client.shapes import COMPLETED


def to_the_end(session: Session, client: Client, job_id: str, *, timeout: float | None, as_json: bool) -> None:
    """Follow one job, print its result. Raises `JobFailed` when it came to no good end."""
    with leaving_it(session, job_id), followed(session.err) as shown:
        for status in client.follow(job_id, timeout=timeout):
            shown.status(status)
    if as_json:
        found = client.full(job_id)
        session.json(found)
        if found.status != COMPLETED:
            raise typer.Exit(Exit.JOB_FAILED)
    else:
        session.write(client.result(job_id).text)


def whole_batch(session: Session, client: Client, name: str, *, timeout: float | None, as_json: bool) -> None:
    """Follow a batch; its jobs are printed as they finish."""
    ends: dict[str, str] = {}
    with leaving_it(session, f"batch {name}", cancel=None), followed(session.err) as shown:
        for job in client.batch(name, timeout=timeout):
            shown.summary(job)
            ends[job.id] = job.status
            if as_json and job.is_final:
                session.json(job)
    completed = sum(status == COMPLETED for status in ends.values())
    session.say(f"{completed} of {len(ends)} completed")
    if completed < len(ends):
        raise typer.Exit(Exit.JOB_FAILED)


@contextmanager
def leaving_it(session: Session, name: str, *, cancel: str | None = "jobsite cancel") -> Iterator[None]:
    """Ctrl-C leaves the job alone, and says how to cancel it."""
    try:
        yield
    except KeyboardInterrupt:
        how = f" To cancel it: {cancel} {name}" if cancel else ""
        session.say(f"{name} goes on.{how}")
        raise typer.Exit(Exit.INTERRUPTED) from None
