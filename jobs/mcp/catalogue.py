"""Tools as agents see them."""

from __future__ import annotations

import functools
from typing import Any

from mcp_types import Tool as ToolShape
from mcp_types import ToolAnnotations

from jobs import tools
from jobs.mcp import snapshot
from jobs.tools import Tool


def shape(tool: Tool) -> ToolShape:
    """A registered tool with its own schema; whatever it returns, the answer is a job's snapshot."""
    return ToolShape(
        name=tool.name,
        description=tool.description or f"Hand a job to {tool.name}.",
        input_schema=_schema(tool),
        output_schema=snapshot.SCHEMA,
        annotations=ToolAnnotations(open_world_hint=True, idempotent_hint=tool.deduplicate),
    )


@functools.lru_cache(maxsize=1000)
def _schema_of(params: type[Any]) -> dict[str, Any]:
    schema: dict[str, Any] = params.model_json_schema(by_alias=True)
    return {"type": "object", "properties": {}} | schema


def _schema(tool: Tool) -> dict[str, Any]:
    return _schema_of(tool.params)


def input_schema(name: str) -> dict[str, Any] | None:
    """None: no such tool. Asked for at every call, so it must not cost a query."""
    return next((_schema(tool) for tool in tools.every() if tool.name == name), None)
