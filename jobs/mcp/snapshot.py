"""A job as every answer shows it: one shape, the output schema of all tools."""

from __future__ import annotations

from mcp_types import CallToolResult, TextContent
from pydantic import TypeAdapter

from jobs import looks, queries, schemas, waiting
from jobs.payloads import Json
from jobs.schemas import JobStatusMessage, OpenQuestion, Result
from jobs.sight import Sight, find
from jobs.waiting import WhyWaiting

_CONTENT = TypeAdapter(CallToolResult)


class JobSnapshot(JobStatusMessage):
    """Where a job is; with its result once it has ended, and with what it waits for."""

    result: Result | None = None
    questions: list[OpenQuestion] | None = None
    why: WhyWaiting | None = None


# As a caller must accept it: what has a default may be left out.
SCHEMA = JobSnapshot.model_json_schema(by_alias=True, mode="validation")


def of(job_id: str, sight: Sight, *, why: bool = False) -> JobSnapshot:
    """A look in the sense of the polling contract. Raises `NotFound`."""
    seen = looks.look(job_id, sight)
    job = find(job_id, sight) if why or seen.wait_ms is None else seen.job
    found = queries.why_pending(job) if why else None
    return JobSnapshot(
        **schemas.status_message(job, seen.wait_ms).model_dump(),
        result=schemas.result_of(job) if job.is_final else None,
        questions=[schemas.open_question(row) for row in queries.open_questions(job)] or None,
        why=waiting.shape_of(found.as_seen(sight)) if found else None,
    )


def as_result(shown: JobSnapshot) -> CallToolResult:
    """What the tool said, word for word, once the job has ended; before that a sentence. The snapshot is beside it."""
    wire = shown.model_dump(by_alias=True, exclude_none=True, mode="json")
    if shown.result is None:
        return CallToolResult(content=[TextContent(type="text", text=_sentence(shown))], structured_content=wire)
    return _CONTENT.validate_python(
        {"content": _content(shown.result), "structuredContent": wire, "isError": shown.result.is_error}
    )


def _content(result: Result) -> list[Json]:
    """Blocks that MCP knows; a tool may return anything, and what it meant is shown as text."""
    try:
        _CONTENT.validate_python({"content": result.content})
    except ValueError:
        return [TextContent(type="text", text=str(block)) for block in result.content]
    return result.content


def _sentence(shown: JobSnapshot) -> str:
    parts = [f"Job {shown.job_id} of {shown.tool_name} is {shown.status}"]
    if shown.progress:
        parts.append(f"{shown.progress:.0f} % done")
    if shown.message:
        parts.append(shown.message)
    if shown.questions:
        parts.append("it waits to be told " + ", ".join(question.key for question in shown.questions))
    advice = f"Follow it with wait_job or get_job (jobId {shown.job_id!r})"
    if shown.polling_recommendation:
        advice += f", next in {shown.polling_recommendation.interval / 1000:g} s"
    return f"{'; '.join(parts)}. {advice}."
