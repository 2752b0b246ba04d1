"""Which tool goes on with a job that another has given up."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from jobs import catalog, sealing, tools
from jobs.errors import Category, InvalidRequest, Problem, Refused
from jobs.payloads import Json
from jobs.retry import ContinueAs, GiveUp
from jobs.tools import Tool

# The request itself is at fault, or nobody wants it any more: another tool would not help.
_NOT_THEN = frozenset({Category.INVALID_INPUT, Category.DEPENDENCY, Category.CANCELLED, Category.LOST})


class Fallback(BaseModel):
    """A tool that gave a job up, after which another went on with it; an item of `Job.fallbacks`."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    tool_name: str
    reason: str
    error_class: str | None = None
    error_category: str | None = None
    attempt: int
    at: int = Field(description="epoch milliseconds")


def instead(tool_name: str, params: Mapping[str, Json], category: Category, given_up: GiveUp) -> GiveUp | ContinueAs:
    """What follows when the tool has given the job up: its fallback, where it has one that takes these params."""
    tool = catalog.find(tool_name)
    if tool is None or not tool.fallback or category in _NOT_THEN:
        return given_up
    try:
        other = catalog.get(tool.fallback)
        other.validate(sealing.open_all(params)[0])
    except Refused as refusal:
        return GiveUp(reason=f"{given_up.reason}; {tool.fallback} cannot go on with it: {refusal}"[:1000])
    return ContinueAs(tool=other.name, reason=given_up.reason, queue=other.queue, timeout_ms=other.timeout_ms, retry=other.retry)


def refuse_broken(tool: Tool) -> None:
    """A fallback may be registered later than the tool that names it, so whether it is there is asked when a job comes."""
    for name in tools.fallbacks_of(tool):
        if catalog.find(name) is None:
            detail = f"a fallback of tool {tool.name!r} does not exist: {name!r}"
            raise InvalidRequest(detail, [Problem(detail=detail, pointer="/toolName")])
