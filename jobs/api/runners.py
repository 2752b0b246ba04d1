"""Runners outside: claim jobs of external tools, or start a standard job; then report. The attempt's token is the fence."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from django.core.signing import BadSignature, Signer
from ninja import Query, Router
from pydantic import AfterValidator, Field, WithJsonSchema

from jobs import catalog, checkpoints, dependencies, external, schemas, sealing, sight, workers
from jobs.api import following
from jobs.api.auth import REPORT, ApiRequest
from jobs.api.following import Hold, Topic
from jobs.api.requests import DAY_MS, JobId, Label, Sent, Whole, refuse_unknown
from jobs.api.wire import WIRE
from jobs.errors import Category, NotFound, Problem, UnknownTool
from jobs.external import Report
from jobs.failures import Failure
from jobs.lifecycle import Running, Usage
from jobs.payloads import clean_text, storable
from jobs.results import MAX_RESULT
from jobs.run_context import MAX_METADATA
from jobs.schemas import JobStatusMessage, Millis, Shape
from jobs.tools import EXTERNAL

router = Router(tags=["runners"])

LEASE_MS = 60_000
# A worker that waits is heard of so often, and looks itself whether there is work; seconds.
ASK_AGAIN = 10.0
_signer = Signer(salt="jobs.attempt")


def _attempt_of(token: str) -> str:
    try:
        return str(int(_signer.unsign(token)))
    except (BadSignature, ValueError):
        raise NotFound("there is no such attempt") from None


Token = Annotated[str, AfterValidator(_attempt_of), WithJsonSchema({"type": "string", "pattern": r"^\d{1,18}:[\w-]{43}$"})]
LeaseMs = Annotated[Whole, Field(ge=1000, le=DAY_MS, description="milliseconds for which the run is trusted without a report")]
Text = Annotated[str, Field(max_length=2000), AfterValidator(clean_text)]
# As a tool's own: secrets covered, and a final state is always reached.
Metadata = Annotated[dict[str, Any], AfterValidator(lambda values: storable(values, max_bytes=MAX_METADATA)[0])]


class Claim(Sent):
    """`worker` names the program among those of one token, so that its jobs and its being there can be told apart."""

    tools: Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(min_length=1, max_length=100)]
    max: Annotated[Whole, Field(ge=1, le=100)] = 1
    lease_ms: LeaseMs = LEASE_MS
    worker: Annotated[Label, Field(min_length=1)] = "worker"


class Waiting(Sent):
    wait: Annotated[int, Field(ge=0, le=following.LONGEST_WAIT, description="seconds to wait for work, where there is none")] = 0


class Start(Sent):
    """Without `leaseMs` the run is trusted until its time-out."""

    lease_ms: LeaseMs | None = None
    worker: Annotated[Label, Field(min_length=1)] = "worker"


class Usages(Sent):
    """What the runner measured."""

    peak_memory_mb: Annotated[float, Field(alias="peakMemoryMB", ge=0, le=1e9, allow_inf_nan=False)] = 0.0
    average_cpu_usage: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = 0.0


class News(Sent):
    """Where the run is; what is left out stays as it was. Each report renews the lease."""

    progress: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    message: Text | None = None
    current_stage: Annotated[str, Field(max_length=200), AfterValidator(clean_text)] | None = None
    sub_progress: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    diagnostics: Annotated[list[Text], Field(max_length=1000)] = []
    metadata: Metadata = {}
    resource_usage: Usages = Usages()
    checkpoint: Annotated[Any, Field(description="for the next attempt, should this one not come to its end; 256 KB")] = None
    lease_ms: LeaseMs = LEASE_MS

    def as_report(self) -> Report:
        return Report(
            progress=self.progress,
            message=self.message,
            stage=self.current_stage,
            sub_progress=self.sub_progress,
            diagnostics=self.diagnostics,
            metadata=self.metadata,
            peak_memory_mb=self.resource_usage.peak_memory_mb,
            cpu_percent=self.resource_usage.average_cpu_usage,
            checkpoint=self.checkpoint,
        )


class Heartbeat(Sent):
    lease_ms: LeaseMs = LEASE_MS


class End(Sent):
    """What every end of a run may carry."""

    message: Text | None = None
    diagnostics: Annotated[list[Text], Field(max_length=1000)] = []
    metadata: Metadata = {}
    resource_usage: Usages = Usages()

    def usage(self, *, progress: float | None = None) -> Usage:
        measured = self.resource_usage
        return Usage(
            peak_memory_mb=measured.peak_memory_mb,
            cpu_percent=measured.average_cpu_usage,
            diagnostics=self.diagnostics,
            metadata=self.metadata,
            progress=progress,
            message=self.message,
        )


class Outcome(End):
    """The result, as a CallToolResult; the text is made from `structuredContent` when it is left out."""

    is_error: Annotated[bool, Field(strict=True)] = False
    content: list[dict[str, Any]] | None = None
    structured_content: Any = None

    def as_result(self) -> dict[str, Any]:
        structured, _ = storable(self.structured_content, max_bytes=MAX_RESULT)
        if structured is not None and not isinstance(structured, dict):
            structured = {"result": structured}
        content, _ = storable(self.content, max_bytes=MAX_RESULT)
        if isinstance(content, dict):  # too large, and cut
            content = [{"type": "text", "text": clean_text(schemas.text_of(content), 4000)}]
        result: dict[str, Any] = {"isError": self.is_error, "content": content}
        if self.content is None:
            text = "done" if structured is None else clean_text(schemas.text_of(structured), 4000)
            result["content"] = [{"type": "text", "text": text}]
        return result if structured is None else result | {"structuredContent": structured}


class Fault(End):
    """Why the run failed. `transient` failures are tried again by the job's policy."""

    message: Text = "failed"
    error_class: Annotated[str, Field(max_length=200), AfterValidator(clean_text)] = "Error"
    category: Literal["transient", "permanent", "resource", "invalid_input"] = "transient"
    traceback: Annotated[str, Field(max_length=20_000), AfterValidator(clean_text)] = ""
    retry_after_ms: Annotated[Whole, Field(ge=0, le=30 * DAY_MS)] | None = None


class ParentOutcome(Shape):
    id: str
    tool_name: str
    status: str
    result: Any = None


class Run(Shape):
    """A job to run. `attempt` is the token that its reports carry; `deadline` is when its time is over."""

    attempt: str
    job_id: str
    tool_name: str
    params: dict[str, Any]
    attempt_number: int
    previous_errors: int
    timeout_ms: int
    deadline: Millis
    lease_ms: int
    dependencies: list[ParentOutcome]
    checkpoint: Annotated[Any, Field(description="what an attempt before this one has left")] = None


class Claimed(Shape):
    jobs: list[Run]


class Kept(Shape):
    """When `cancelRequested`, end the run soon; whatever is reported then, the job is cancelled."""

    cancel_requested: bool
    reason: str | None = None
    lease_ms: int


@router.post("/claims", response=Claimed, auth=REPORT, operation_id="claimJobs", **WIRE)
def claim(request: ApiRequest, wanted: Claim, how: Query[Waiting]) -> Claimed:
    """Take jobs of external tools that have been given a slot; with `wait`, the request is held until there is one."""
    refuse_unknown(request.GET, Waiting)
    seen, names = request.caller.sight, frozenset(wanted.tools)
    external_tools = {tool.name for tool in catalog.every() if tool.queue == EXTERNAL and seen.covers_tool(tool.name)}
    if unknown := sorted(names - external_tools - catalog.retired()):
        detail = f"there is no external tool {clean_text(unknown[0], 100)!r}"
        raise UnknownTool(detail, [Problem(detail="unknown tool", pointer="/tools")])
    runs = external.claim(
        names,
        worker=_worker(request, wanted.worker),
        host=str(request.META.get("REMOTE_ADDR", "")),
        most=wanted.max,
        lease=wanted.lease_ms / 1000,
        projects=seen.projects,
    )
    held = following.of(request)
    if held is not None and not runs and (wait := min(how.wait, held.wait)) > 0:
        held.wait, held.hold = wait, Hold(topic=Topic(kind="claim", names=names), again_after=ASK_AGAIN, again_when_woken=True)
    return Claimed(jobs=[_run(run, wanted.lease_ms) for run in runs])


@router.post("/jobs/{job_id}/start", response=Run, auth=REPORT, operation_id="startJob", **WIRE)
def start(request: ApiRequest, job_id: JobId, wanted: Start | None = None) -> Run:
    """Begin a standard job that you run yourself."""
    wanted = wanted or Start()
    job = sight.find(job_id, request.caller.sight)
    lease_ms = wanted.lease_ms or min(job.timeout_ms, 30 * DAY_MS)
    return _run(external.begin(job_id, worker=_worker(request, wanted.worker), lease=lease_ms / 1000), lease_ms)


@router.post("/attempts/{attempt}/progress", response=Kept, auth=REPORT, operation_id="reportProgress", **WIRE)
def progress(request: ApiRequest, attempt: Token, wanted: News) -> Kept:
    """Say where the run is, and renew its lease."""
    return _kept(attempt, wanted.as_report(), wanted.lease_ms)


@router.post("/attempts/{attempt}/heartbeat", response=Kept, auth=REPORT, operation_id="heartbeat", **WIRE)
def heartbeat(request: ApiRequest, attempt: Token, wanted: Heartbeat | None = None) -> Kept:
    """Renew the lease."""
    return _kept(attempt, Report(), wanted.lease_ms if wanted else LEASE_MS)


@router.post("/attempts/{attempt}/result", response=JobStatusMessage, auth=REPORT, operation_id="reportResult", **WIRE)
def result(request: ApiRequest, attempt: Token, wanted: Outcome) -> JobStatusMessage:
    """End the run with its result: the job is completed, or failed when `isError`."""
    usage = wanted.usage(progress=None if wanted.is_error else 100.0)
    return _told(external.finish(external.held(int(attempt)), wanted.as_result(), usage, actor=request.caller.name).pk)


@router.post("/attempts/{attempt}/failure", response=JobStatusMessage, auth=REPORT, operation_id="reportFailure", **WIRE)
def failure(request: ApiRequest, attempt: Token, wanted: Fault) -> JobStatusMessage:
    """End the run with an error: the job is tried again by its policy, or failed for good."""
    after = None if wanted.retry_after_ms is None else wanted.retry_after_ms / 1000
    run = external.held(int(attempt))
    told = Failure(
        category=Category(wanted.category),
        error_class=wanted.error_class,
        message=wanted.message,
        traceback=wanted.traceback,
        place=run.job.tool,
    )
    return _told(external.fail(run, told, wanted.usage(), actor=request.caller.name, retry_after=after).pk)


@router.post("/attempts/{attempt}/release", response=JobStatusMessage, auth=REPORT, operation_id="releaseAttempt", **WIRE)
def release(request: ApiRequest, attempt: Token, wanted: End | None = None) -> JobStatusMessage:
    """Give the job back: it is pending again at once, and no retry is spent."""
    usage = (wanted or End()).usage()
    return _told(external.give_back(external.held(int(attempt)), usage, actor=request.caller.name).pk)


def _worker(request: ApiRequest, name: str) -> str:
    return f"{request.caller.name}/{name}"[:200]


def _run(run: Running, lease_ms: int) -> Run:
    job = run.job
    began = schemas.ms(job.started_at)
    parents = dependencies.parents_of(job.id)
    return Run(
        attempt=_signer.sign(str(run.attempt_id)),
        job_id=job.id,
        tool_name=job.tool,
        params=sealing.open_all(run.params)[0],  # the worker is the tool: it needs them as they were sent
        attempt_number=job.attempt_count,
        previous_errors=run.previous_errors,
        timeout_ms=job.timeout_ms,
        deadline=began + job.timeout_ms,
        lease_ms=lease_ms,
        dependencies=[ParentOutcome(id=p.id, tool_name=p.tool, status=p.status, result=p.result) for p in parents],
        checkpoint=checkpoints.of(job.id) if job.attempt_count > 1 else None,
    )


def _kept(attempt: str, news: Report, lease_ms: int) -> Kept:
    run = external.held(int(attempt))
    cancelled, reason = external.report(run, news, lease=lease_ms / 1000)
    workers.was_heard(run.attempt_id)
    return Kept(cancel_requested=cancelled, reason=reason or None, lease_ms=lease_ms)


def _told(job_id: str) -> JobStatusMessage:
    return schemas.status_message(sight.find(job_id, sight.EVERYTHING), None)
