"""The commands."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any

import typer

from jobsite_client.cli import following, logs, params, tables, tokens, top
from jobsite_client.cli.options import JobId, JobOrNone, Json, Reason, Timeout, ToolName, session_of
from jobsite_client.cli.screen import Session
from jobsite_client.client import Client
from jobsite_client.errors import NotFound
from jobsite_client.shapes import JobPage, JobStatus, Shape, Tool, WhyWaiting
from jobsite_client.submitting import NewJob

app = typer.Typer(
    name="jobsite",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Hand jobs to Jobsite, follow them, steer them.",
    epilog="Exit codes: 0 well, 1 the job failed, 2 usage, 3 not found, 4 not authorised, 5 unreachable, 6 refused,"
    " 7 still running after --timeout, 8 the server failed, 130 Ctrl-C.",
)


app.add_typer(tokens.app, name="token")


class _Tools(Shape):
    tools: list[Tool]


class _Moved(Shape):
    batch_id: str
    moved: int


class _Why(Shape):
    job_id: str
    why: WhyWaiting | None = None


@app.callback()
def main(
    context: typer.Context,
    url: Annotated[
        str | None, typer.Option(envvar="JOBSITE_URL", help="Where Jobsite is; http://127.0.0.1:8000 if not given.")
    ] = None,
    token: Annotated[str | None, typer.Option(envvar="JOBSITE_TOKEN", help="The bearer token.", show_envvar=True)] = None,
) -> None:
    context.obj = Session(url=url, token=token)


@app.command()
def submit(
    context: typer.Context,
    tool: ToolName,
    pairs: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Params; KEY:=JSON takes any JSON.")] = None,
    given: Annotated[str | None, typer.Option("--params", help="All params as JSON, @FILE or - for the standard input.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for the end; then the result is printed.")] = False,
    timeout: Timeout = None,
    job_id: Annotated[str | None, typer.Option("--id", help="An id of your own.")] = None,
    priority: Annotated[str | None, typer.Option(help="low, medium, high or critical")] = None,
    after: Annotated[
        list[str] | None, typer.Option(metavar="JOB", help="A job that must be completed first; may be given often.")
    ] = None,
    project: Annotated[str | None, typer.Option(help="The project it belongs to.")] = None,
    batch: Annotated[str | None, typer.Option(help="The batch it belongs to; see `watch --batch`.")] = None,
    run_for: Annotated[float | None, typer.Option("--run-for", min=0.001, help="Seconds that the tool may take.")] = None,
    retries: Annotated[int | None, typer.Option(min=0, help="How often it is tried again.")] = None,
    delay: Annotated[float | None, typer.Option(min=0, help="Seconds from now before which it does not start.")] = None,
    deduplicate: Annotated[bool | None, typer.Option(help="An active job with the same params is given instead.")] = None,
    key: Annotated[str | None, typer.Option("--idempotency-key", help="The same key gives the same job for 24 hours.")] = None,
    as_json: Json = False,
) -> None:
    """Hand in a job; its id is printed."""
    session = session_of(context)
    with session.client() as client:
        schema = _schema(client, tool) if pairs else {}
        options = {
            "id": job_id,
            "priority": priority,
            "dependencies": after,
            "project_id": project,
            "metadata": {"batchId": batch} if batch else None,
            "timeout_ms": None if run_for is None else max(1, round(run_for * 1000)),
            "max_retries": retries,
            "delay_ms": None if delay is None else round(delay * 1000),
            "deduplicate": deduplicate,
        }
        wanted = {name: value for name, value in options.items() if value is not None}
        job = NewJob(tool_name=tool, params=params.read(pairs or [], given, schema), **wanted)
        status = client.create(job, idempotency_key=key)
        if follow:
            following.to_the_end(session, client, status.job_id, timeout=timeout, as_json=as_json)
        elif as_json:
            session.json(status)
        else:
            session.write(status.job_id)


def _schema(client: Client, tool: str) -> dict[str, Any]:
    """That there is no such tool is better said by the refusal, which names those there are."""
    try:
        return client.tool(tool).params
    except NotFound:
        return {}


@app.command()
def watch(
    context: typer.Context,
    job: JobOrNone = None,
    batch: Annotated[str | None, typer.Option(help="Watch every job of this batch.")] = None,
    timeout: Timeout = None,
    as_json: Json = False,
) -> None:
    """Follow a job, or a whole batch with a bar a job, to the end."""
    session = session_of(context)
    job, batch = _one_of(job, batch)
    with session.client() as client:
        if job:
            following.to_the_end(session, client, job, timeout=timeout, as_json=as_json)
        else:
            following.whole_batch(session, client, batch, timeout=timeout, as_json=as_json)


@app.command("list")
def list_jobs(
    context: typer.Context,
    status: Annotated[str | None, typer.Option(help="pending, running, completed, failed or cancelled")] = None,
    tool: Annotated[str | None, typer.Option(help="Only jobs of this tool.")] = None,
    project: Annotated[str | None, typer.Option(help="Only jobs of this project.")] = None,
    batch: Annotated[str | None, typer.Option(help="Only jobs of this batch.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many, the newest.")] = 20,
    as_json: Json = False,
) -> None:
    """Jobs, newest first."""
    session = session_of(context)
    with session.client() as client:
        found = list(islice(client.jobs(status=status, tool=tool, project=project, batch=batch), limit))
    if as_json:
        session.json(JobPage(jobs=found))
    elif found:
        session.show(tables.jobs(found))
    else:
        session.say("no such jobs")


@app.command()
def show(context: typer.Context, job: JobId, as_json: Json = False) -> None:
    """Everything about a job."""
    session = session_of(context)
    with session.client() as client:
        found = client.full(job)
        if as_json:
            session.json(found)
            return
        session.show(tables.job(found))
        for table in (tables.attempts(client.attempts(job)), tables.events(client.events(job))):
            if table.row_count:
                session.write("")
                session.show(table)


@app.command("logs")
def show_logs(
    context: typer.Context,
    job: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job is finished.")] = False,
    as_json: Json = False,
) -> None:
    """The lines that a job wrote."""
    session = session_of(context)
    with session.client() as client, following.leaving_it(session, job):
        for line in logs.follow(client, job) if follow else client.diagnostics(job):
            if as_json:
                session.json(logs.Line(job_id=job, line=line))
            else:
                session.write(line)


@app.command()
def cancel(
    context: typer.Context,
    job: JobOrNone = None,
    batch: Annotated[str | None, typer.Option(help="Every job of this batch that has not ended.")] = None,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Stop a job, or a batch: what waits at once, what runs as soon as its tool looks up."""
    session = session_of(context)
    job, batch = _one_of(job, batch)
    with session.client() as client:
        if batch:
            _moved(session, batch, client.cancel_group(batch, reason=reason), "cancelled", as_json=as_json)
        else:
            _told(session, client.cancel(job, reason), as_json=as_json)


@app.command()
def retry(
    context: typer.Context,
    job: JobOrNone = None,
    batch: Annotated[str | None, typer.Option(help="Every failed job of this batch.")] = None,
    as_json: Json = False,
) -> None:
    """Send a failed or cancelled job, or the failed ones of a batch, back into the line."""
    session = session_of(context)
    job, batch = _one_of(job, batch)
    with session.client() as client:
        if batch:
            _moved(session, batch, client.retry_group(batch), "tried again", as_json=as_json)
        else:
            _told(session, client.retry(job), as_json=as_json)


def _one_of(job: str | None, batch: str | None) -> tuple[str, str]:
    if (job is None) == (batch is None):
        raise typer.BadParameter("give a job or --batch, and not both")
    return job or "", batch or ""


def _moved(session: Session, batch: str, moved: int, what: str, *, as_json: bool) -> None:
    if as_json:
        session.json(_Moved(batch_id=batch, moved=moved))
    else:
        session.write(f"{batch}: {moved} {what}")


def _told(session: Session, status: JobStatus, *, as_json: bool) -> None:
    if as_json:
        session.json(status)
    else:
        session.write(f"{status.job_id} {status.status}")


@app.command()
def why(context: typer.Context, job: JobId, as_json: Json = False) -> None:
    """Why a job waits."""
    session = session_of(context)
    with session.client() as client:
        found = client.why(job)
    if as_json:
        session.json(_Why(job_id=job, why=found))
    else:
        session.show(tables.why(found))


@app.command("top")
def show_top(
    context: typer.Context,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 1.0,
    as_json: Json = False,
) -> None:
    """What runs and waits, redrawn until q. Without a terminal, once."""
    session = session_of(context)
    if as_json or not top.possible(session):
        top.once(session, as_json=as_json)
    else:
        top.moving(session, every)


@app.command("tools")
def show_tools(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[TOOL]", help="Show the params of this one.")] = None,
    as_json: Json = False,
) -> None:
    """The tools there are, and what they take."""
    session = session_of(context)
    with session.client() as client:
        found = [client.tool(name)] if name else client.tools()
    if as_json:
        session.json(_Tools(tools=found))
    else:
        session.show(tables.tool(found[0]) if name else tables.tools(found))
