"""What is offered to agents, and how a call is answered. Handlers are async; each touches the database in one hop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asgiref.sync import sync_to_async
from mcp.server.context import HandlerResult, ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_NAME_HEADER, decode_header_value
from mcp_types import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    RequestParams,
    TextContent,
)
from pydantic import ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from starlette.requests import Request

from jobs import catalog, lifecycle, questions, tokens
from jobs.api.auth import Caller
from jobs.api.problems import Forbidden
from jobs.api.reach import refuse_beyond
from jobs.errors import InvalidRequest, NotFound, Refused, UnknownTool
from jobs.lifecycle import Submission
from jobs.mcp import catalogue, snapshot, task, waiting
from jobs.mcp.verbs import LONGEST_WAIT, VERBS, Verb, as_result
from jobs.models import Job
from jobs.payloads import Json, clean_text
from jobs.schemas import OpenQuestion
from jobs.tools import Tool

CALLER = "jobsite.caller"
INSTRUCTIONS = (
    "Each tool hands in a job and answers at once with its snapshot: id, status, and when to look again. Follow it with wait_job "
    "or get_job; the result is in the snapshot once the status is completed, failed or cancelled. A client that declares the "
    f"extension {task.EXTENSION} gets a task instead."
)

Context = ServerRequestContext[Any, Any]


class TaskParams(RequestParams):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    task_id: str


class TaskUpdate(TaskParams):
    input_responses: dict[str, Any] = Field(default_factory=dict)


def _request(ctx: Context) -> Request:
    assert isinstance(ctx.request, Request)  # noqa: S101  (this server is reached by HTTP only)
    return ctx.request


def _caller(ctx: Context) -> Caller:
    caller: Caller = _request(ctx).scope[CALLER]
    return caller


def _may(ctx: Context, scope: str) -> Caller:
    """Raises `Forbidden`."""
    caller = _caller(ctx)
    if scope not in caller.scopes:
        raise Forbidden(f"this needs the scope {scope!r}; {caller.name} has {', '.join(sorted(caller.scopes))}")
    return caller


def _declares_tasks(ctx: Context) -> bool:
    declared = ctx.session.client_capabilities
    return declared is not None and task.EXTENSION in (declared.extensions or {})


def _may_ask(ctx: Context) -> bool:
    declared = ctx.session.client_capabilities
    return declared is not None and declared.elicitation is not None


async def _list_tools(ctx: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
    """What the caller's scopes allow."""
    caller = _caller(ctx)
    shown = [verb.shape() for verb in VERBS.values() if verb.scope in caller.scopes]
    if tokens.SUBMIT in caller.scopes:
        there = await sync_to_async(catalog.every)()
        shown += [catalogue.shape(t) for t in there if t.name not in VERBS and caller.sight.covers_tool(t.name)]
    return ListToolsResult(tools=shown)


async def _call_tool(ctx: Context, params: CallToolRequestParams) -> Any:
    """What the caller did wrong is told as a tool's error, so that an agent reads it and does better."""
    arguments = params.arguments or {}
    try:
        if verb := VERBS.get(params.name):
            return await _call_verb(verb, _may(ctx, verb.scope), arguments)
        return await _hand_in(ctx, params.name, arguments)
    except UnknownTool as unknown:
        raise MCPError(INVALID_PARAMS, unknown.detail) from None
    except Refused as refusal:
        return _refused(refusal)


def _refused(refusal: Refused) -> CallToolResult:
    lines = [refusal.detail, *(f"{p.pointer}: {p.detail}" for p in refusal.problems if p.detail not in refusal.detail)]
    return CallToolResult(content=[TextContent(type="text", text=clean_text("\n".join(lines), 4000))], is_error=True)


async def _call_verb(verb: Verb, caller: Caller, arguments: Mapping[str, Json]) -> CallToolResult:
    try:
        wanted = verb.params.model_validate(arguments)
    except ValidationError as error:
        faults = [f"{'/'.join(map(str, f['loc']))}: {f['msg']}" for f in error.errors(include_url=False, include_context=False)[:5]]
        raise InvalidRequest("; ".join(faults)) from None
    if verb.waits:
        await waiting.until_settled(wanted.job_id, wanted.seconds, caller.sight)  # type: ignore[attr-defined]  # verbs.Wait
    return as_result(await sync_to_async(verb.call)(wanted, caller))


async def _hand_in(ctx: Context, name: str, arguments: dict[str, Json]) -> HandlerResult:
    """Make a job of the call; answer as the client and the tool can: with a task, the result, or the job's snapshot."""
    caller, tasks = _may(ctx, tokens.SUBMIT), _declares_tasks(ctx)
    tool = await sync_to_async(catalog.get)(name)
    if tool.task_support == "required" and not tasks:
        raise task.required()
    answers = _answers(tool, (ctx.params or {}).get("inputResponses"))
    if (open_questions := tool.asks.keys() - answers.keys()) and _may_ask(ctx):
        return _ask_first(tool, open_questions)
    wanted = Submission(tool=name, params=arguments, answers=answers, project=_only_project(caller))
    job = await sync_to_async(_submit)(wanted, caller)
    if tool.task_support == "forbidden":
        await waiting.until_settled(job.pk, LONGEST_WAIT, caller.sight)
    elif tasks:
        return task.created(job)
    return snapshot.as_result(await sync_to_async(snapshot.of)(job.pk, caller.sight))


def _submit(wanted: Submission, caller: Caller) -> Job:
    refuse_beyond(caller, [wanted])
    return lifecycle.submit(wanted, by=caller.name)


def _only_project(caller: Caller) -> str:
    """A call of a tool names no project: where the token is for one, it is that. Who has several uses `submit_job`."""
    projects = caller.sight.projects or frozenset()
    return next(iter(projects)) if len(projects) == 1 else ""


def _answers(tool: Tool, given: Json) -> dict[str, Json]:
    """To the tool's own questions. Raises MCPError for what does not fit them."""
    given = {} if given is None else given
    if not isinstance(given, dict):
        raise MCPError(INVALID_PARAMS, "inputResponses must be an object")
    try:
        said = {key: questions.read(key, given[key], question.schema) for key, question in tool.asks.items() if key in given}
    except InvalidRequest as error:
        raise MCPError(INVALID_PARAMS, error.detail) from None
    return {key: reply.model_dump(mode="json") for key, reply in said.items()}


def _ask_first(tool: Tool, keys: set[str]) -> dict[str, Any]:
    asked = [OpenQuestion(key=key, message=q.message, requested_schema=q.schema) for key, q in tool.asks.items() if key in keys]
    return {"resultType": "input_required", "inputRequests": {question.key: task.elicitation(question) for question in asked}}


# --- the extension ---------------------------------------------------------------------------------------------------
def _task_caller(ctx: Context, task_id: str, scope: str) -> Caller:
    """Raises MCPError for a client without the extension, or with a routing header that names another task."""
    if not _declares_tasks(ctx):
        raise task.required()
    # The SDK checks this header for the methods of the core protocol only.
    if decode_header_value(_request(ctx).headers.get(MCP_NAME_HEADER)) != task_id:
        raise MCPError(HEADER_MISMATCH, f"{MCP_NAME_HEADER} header does not match the request body's 'taskId' parameter")
    try:
        return _may(ctx, scope)
    except Forbidden as error:
        raise MCPError(INVALID_PARAMS, error.detail) from None


def _no_such_task(task_id: str) -> MCPError:
    return MCPError(INVALID_PARAMS, f"there is no task {clean_text(task_id, 64)!r}")


async def _get_task(ctx: Context, params: TaskParams) -> dict[str, Any]:
    caller = _task_caller(ctx, params.task_id, tokens.READ)
    try:
        return await sync_to_async(task.detailed)(params.task_id, caller, may_ask=_may_ask(ctx))
    except NotFound:
        raise _no_such_task(params.task_id) from None


async def _update_task(ctx: Context, params: TaskUpdate) -> dict[str, Any]:
    caller = _task_caller(ctx, params.task_id, tokens.SUBMIT)
    try:
        await sync_to_async(task.answer)(params.task_id, params.input_responses, caller)
    except NotFound:
        raise _no_such_task(params.task_id) from None
    except InvalidRequest as error:
        raise MCPError(INVALID_PARAMS, error.detail) from None
    return {}


async def _cancel_task(ctx: Context, params: TaskParams) -> dict[str, Any]:
    caller = _task_caller(ctx, params.task_id, tokens.CONTROL)
    try:
        await sync_to_async(task.cancel)(params.task_id, caller)
    except NotFound:
        raise _no_such_task(params.task_id) from None
    return {}


def _made() -> Server[Any]:
    made: Server[Any] = Server(
        "jobsite",
        version="1",
        title="Jobsite",
        instructions=INSTRUCTIONS,
        on_list_tools=_list_tools,
        on_call_tool=_call_tool,
        get_tool_input_schema=catalogue.input_schema,
    )
    made.extensions = {task.EXTENSION: {}}
    made.add_request_handler("tasks/get", TaskParams, _get_task)
    made.add_request_handler("tasks/update", TaskUpdate, _update_task)
    made.add_request_handler("tasks/cancel", TaskParams, _cancel_task)
    return made


server = _made()
