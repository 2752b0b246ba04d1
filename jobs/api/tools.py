"""Tools: what there is to hand work to, and external tools registered."""

from __future__ import annotations

from typing import Annotated, Any

from ninja import Path, Router
from ninja.responses import Status
from pydantic import Field

from jobs import catalog
from jobs.api.auth import ADMIN, READ, ApiRequest
from jobs.api.requests import DAY_MS, Sent, WantedResources, Whole
from jobs.api.wire import WIRE
from jobs.errors import NotFound
from jobs.payloads import clean_text
from jobs.schemas import ResourceRequirements, Shape
from jobs.states import Operation, Priority
from jobs.tools import EXTERNAL, NAME, Tool

router = Router(tags=["tools"])


class ToolShape(Shape):
    """A kind of work that jobs may be handed in for; `params` and `result` are JSON Schemas.

    An `external` tool is run by programs outside, which claim its jobs.
    """

    name: str
    description: str
    external: bool
    operation_type: str
    priority: str
    timeout_ms: int | None = None
    resource_requirements: ResourceRequirements
    params: dict[str, Any]
    result: dict[str, Any] | None = None


class ToolList(Shape):
    tools: list[ToolShape]


class NewTool(Sent):
    """An external tool. `params` and `result` are JSON Schemas (2020-12) that refer to nothing outside themselves."""

    description: Annotated[str, Field(max_length=10_000)] = ""
    params: dict[str, Any] = {"type": "object"}
    result: dict[str, Any] | None = None
    operation_type: Operation = Operation.EXECUTION
    priority: Priority = Priority.MEDIUM
    timeout_ms: Annotated[Whole, Field(ge=1, le=30 * DAY_MS)] | None = None
    max_retries: Annotated[Whole, Field(ge=0, le=1000)] | None = None
    resource_requirements: WantedResources = WantedResources()
    deduplicate: Annotated[bool, Field(strict=True)] = False

    def columns(self) -> dict[str, Any]:
        needs = self.resource_requirements.as_resources()
        return {
            "description": self.description,
            "params_schema": self.params,
            "result_schema": self.result,
            "operation": self.operation_type,
            "priority": self.priority,
            "timeout_ms": self.timeout_ms,
            "max_retries": self.max_retries,
            "memory_mb": needs.memory_mb,
            "cpu_weight": needs.cpu_weight,
            "disk_mb": needs.disk_mb,
            "deduplicate": self.deduplicate,
        }


ToolName = Annotated[str, Path(min_length=1, max_length=100, pattern=f"^{NAME.pattern}$")]


@router.get("", response=ToolList, auth=READ, operation_id="listTools", **WIRE)
def every(request: ApiRequest) -> ToolList:
    """Every tool, with the JSON Schemas of its params and of its result, where that is known."""
    return ToolList(tools=[shape(tool) for tool in catalog.every() if request.caller.sight.covers_tool(tool.name)])


@router.get("/{name}", response=ToolShape, auth=READ, operation_id="getTool", **WIRE)
def one(request: ApiRequest, name: str) -> ToolShape:
    """One tool."""
    found = catalog.find(name) if request.caller.sight.covers_tool(name) else None
    if found is None:
        raise NotFound(f"there is no tool {clean_text(name, 100)!r}")
    return shape(found)


@router.put("/{name}", response=ToolShape, auth=ADMIN, operation_id="registerTool", **WIRE)
def register(request: ApiRequest, name: ToolName, wanted: NewTool) -> ToolShape:
    """Make an external tool, or change it. Its jobs are run by whoever claims them."""
    return shape(catalog.tool_of(catalog.register(name, by=request.caller.name, **wanted.columns())))


@router.delete("/{name}", response={204: None}, auth=ADMIN, operation_id="retireTool", **WIRE)
def retire(request: ApiRequest, name: str) -> Status[None]:
    """Take in no more jobs for an external tool. Those there are can still be claimed."""
    catalog.retire(name)
    return Status(204, None)


def shape(tool: Tool) -> ToolShape:
    return ToolShape(
        name=tool.name,
        description=tool.description,
        external=tool.queue == EXTERNAL,
        operation_type=tool.operation,
        priority=tool.priority,
        timeout_ms=tool.timeout_ms,
        resource_requirements=ResourceRequirements(
            memory_mb=tool.resources.memory_mb, cpu_weight=tool.resources.cpu_weight, disk_space_mb=tool.resources.disk_mb
        ),
        params=tool.params.model_json_schema(),
        result=tool.result.json_schema() if tool.result else None,
    )
