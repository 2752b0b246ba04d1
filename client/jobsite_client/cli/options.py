"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from jobsite_client.cli.screen import Session
from jobsite_client.errors import JobsiteError
from jobsite_client.shapes import JobSummary

Json = Annotated[bool, typer.Option("--json", help="Print JSON, in the names of the API.")]
Timeout = Annotated[float | None, typer.Option(min=0, help="Seconds to wait at most; then the exit code is 7.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept in the job's history.")]


def session_of(context: typer.Context) -> Session:
    session = context.obj
    if isinstance(session, Session):
        return session
    # While a shell completes a word, the main callback has not run.
    parent = context.find_root().params
    return Session(url=parent.get("url"), token=parent.get("token"))


def _tools(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Completion is a courtesy: without a server there is none."""
    try:
        with session_of(context).client(tries=1) as client:
            return [(tool.name, tool.description) for tool in client.tools() if tool.name.startswith(incomplete)]
    except JobsiteError:
        return []


def _jobs(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    try:
        with session_of(context).client(tries=1) as client:
            return [(job.id, _described(job)) for job in client.page(limit=100).jobs if job.id.startswith(incomplete)]
    except JobsiteError:
        return []


def _described(job: JobSummary) -> str:
    return f"{job.tool_name}, {job.status}"


JobId = Annotated[str, typer.Argument(metavar="JOB", help="The id of a job.", autocompletion=_jobs)]
JobOrNone = Annotated[str | None, typer.Argument(metavar="[JOB]", help="The id of a job.", autocompletion=_jobs)]
ToolName = Annotated[str, typer.Argument(metavar="TOOL", help="The name of a tool.", autocompletion=_tools)]
