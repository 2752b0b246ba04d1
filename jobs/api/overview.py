"""The whole: tools, queue, statistics, and what the types of problems mean."""

from __future__ import annotations

from typing import Any

from ninja import Router

from jobs import statistics, tools
from jobs.api import problems
from jobs.api.auth import READ, ApiRequest
from jobs.api.wire import WIRE
from jobs.errors import NotFound
from jobs.schemas import QueueStatus, Shape, Statistics
from jobs.tools import Tool

router = Router(tags=["overview"])


class ToolShape(Shape):
    """A kind of work that jobs may be handed in for; `params` and `result` are JSON Schemas."""

    name: str
    description: str
    operation_type: str
    priority: str
    timeout_ms: int | None = None
    params: dict[str, Any]
    result: dict[str, Any] | None = None


class ToolList(Shape):
    tools: list[ToolShape]


class ProblemType(Shape):
    type: str
    title: str
    status: int


@router.get("/stats", response=Statistics, auth=READ, operation_id="getStatistics", **WIRE)
def stats(request: ApiRequest) -> Statistics:
    """Totals and averages over the jobs that are kept."""
    return Statistics.model_validate(statistics.statistics())


@router.get("/queue", response=QueueStatus, auth=READ, operation_id="getQueueStatus", **WIRE)
def queue(request: ApiRequest) -> QueueStatus:
    """What waits and what runs."""
    return QueueStatus.model_validate(statistics.queue_status())


@router.get("/tools", response=ToolList, auth=READ, operation_id="listTools", **WIRE)
def tool_list(request: ApiRequest) -> ToolList:
    """Every tool, with the JSON Schema of its params."""
    return ToolList(tools=[_shape(tool) for tool in tools.every()])


@router.get("/problems/{code}", response=ProblemType, auth=READ, operation_id="getProblemType", **WIRE)
def problem(request: ApiRequest, code: str) -> ProblemType:
    """What the `type` of a problem means."""
    kind = problems.known().get(code)
    if kind is None:
        raise NotFound("there is no such type of problem")
    return ProblemType(type=problems.TYPES + kind.code, title=kind.title, status=kind.http_status)


def _shape(tool: Tool) -> ToolShape:
    return ToolShape(
        name=tool.name,
        description=tool.description,
        operation_type=tool.operation,
        priority=tool.priority,
        timeout_ms=tool.timeout_ms,
        params=tool.params.model_json_schema(),
        result=tool.result.json_schema() if tool.result else None,
    )
