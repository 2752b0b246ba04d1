"""Every tool there is: those registered in Python, and the external ones that programs outside run."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
from django.db.models.functions import Now
from jsonschema.exceptions import SchemaError
from jsonschema.protocols import Validator
from pydantic import BaseModel, ConfigDict, RootModel, TypeAdapter, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from jobs import payloads, tools
from jobs.errors import Conflict, InvalidRequest, NotFound, Problem, UnknownTool
from jobs.limits import Resources
from jobs.models import ExternalTool
from jobs.payloads import Json, clean_text
from jobs.retry import Retry
from jobs.states import Operation, Priority
from jobs.tools import EXTERNAL, Tool

MAX_SCHEMA = 64 * 1024
MAX_FAULTS = 20


def get(name: str) -> Tool:
    """One query for a tool that is not registered in Python. Raises `UnknownTool`, naming the tools there are."""
    found = find(name)
    if found is None:
        known = ", ".join(tool.name for tool in every()) or "none"
        detail = f"there is no tool {clean_text(name, 100)!r}; there are: {known}"
        raise UnknownTool(detail, [Problem(detail="unknown tool", pointer="/toolName")])
    return found


def find(name: str) -> Tool | None:
    """None: there is no such tool."""
    if name in tools.names():
        return tools.get(name)
    row = None if "\x00" in name else ExternalTool.objects.filter(name=name, retired_at=None).first()
    return None if row is None else tool_of(row)


def every() -> list[Tool]:
    """All tools by name. One query."""
    external = [tool_of(row) for row in ExternalTool.objects.filter(retired_at=None)]
    return sorted([*tools.every(), *external], key=lambda tool: tool.name)


def retired() -> set[str]:
    """External tools that take in no more jobs; those there are can still be claimed."""
    return set(ExternalTool.objects.exclude(retired_at=None).values_list("name", flat=True))


def register(name: str, *, by: str, **values: Any) -> ExternalTool:
    """Make an external tool, or change it; `values` are its columns. Raises `InvalidRequest`, or `Conflict` for a taken name."""
    if not tools.NAME.fullmatch(name) or len(name) > 100:
        raise InvalidRequest("a tool's name has at most 100 lower case letters, digits and . - _, and begins with a letter")
    if name in tools.names():
        raise Conflict(f"the tool {name!r} is registered in Python")
    for column, pointer in (("params_schema", "/params"), ("result_schema", "/result")):
        if values.get(column) is not None:
            _check_schema(values[column], pointer)
    row, _ = ExternalTool.objects.update_or_create(name=name, defaults=values | {"made_by": by, "retired_at": None})
    return row


def retire(name: str) -> None:
    """Take in no more jobs for an external tool; those there are go on. Raises `NotFound`."""
    if not ExternalTool.objects.filter(name=name, retired_at=None).update(retired_at=Now()):
        raise NotFound(f"there is no external tool {clean_text(name, 100)!r}")


def _check_schema(schema: Json, pointer: str) -> None:
    payloads.check(schema, what="the schema", max_bytes=MAX_SCHEMA)
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        detail = f"this is no JSON Schema: {clean_text(error.message, 300)}"
        raise InvalidRequest(detail, [Problem(detail=detail, pointer=pointer)]) from None
    if fault := next(_foreign_references(schema), None):
        detail = f"a schema may only refer to itself, not to {clean_text(str(fault), 200)}"
        raise InvalidRequest(detail, [Problem(detail=detail, pointer=pointer)])


def _foreign_references(schema: Json) -> Iterator[Json]:
    """What would be fetched from elsewhere, or found nowhere."""
    if isinstance(schema, Mapping):
        for key, value in schema.items():
            if key in ("$ref", "$dynamicRef") and not (isinstance(value, str) and value.startswith("#")):
                yield value
            yield from _foreign_references(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _foreign_references(item)


def tool_of(row: ExternalTool) -> Tool:
    """As the rest of the system knows tools. It has no function: nobody here runs it."""
    retry = None if row.max_retries is None else Retry(max=row.max_retries)
    return Tool(
        name=row.name,
        run=_runs_elsewhere,
        params=_model_of(payloads.canonical(row.params_schema)),
        takes_model=True,
        takes_job=False,
        result=None if row.result_schema is None else TypeAdapter(_model_of(payloads.canonical(row.result_schema))),
        operation=Operation(row.operation),
        priority=Priority(row.priority),
        timeout_ms=row.timeout_ms,
        retry=retry,
        resources=Resources(memory_mb=row.memory_mb, cpu_weight=row.cpu_weight, disk_mb=row.disk_mb),
        queue=EXTERNAL,
        deduplicate=row.deduplicate,
        description=row.description,
    )


def unregistered(name: str) -> Tool:
    """A tool of which nothing is known: it reports jobs that it runs by itself. Raises `InvalidRequest` for what is no name."""
    if not tools.NAME.fullmatch(name):
        detail = "a tool's name has lower case letters, digits and . - _, and begins with a letter"
        raise InvalidRequest(detail, [Problem(detail=detail, pointer="/toolName")])
    return Tool(name=name, run=_runs_elsewhere, params=_model_of("{}"), takes_model=True, takes_job=False)


def _runs_elsewhere(*_: object) -> None:
    raise NotImplementedError("an external tool is run by those who claim its jobs")


class _Described(RootModel[dict[str, Any]]):
    """Params that are held against a JSON Schema, with the face of any other params model."""

    model_config = ConfigDict(title="Params")


@functools.lru_cache(maxsize=256)
def _model_of(text: str) -> type[BaseModel]:
    schema: dict[str, Any] = payloads.loads(text)
    checker: Validator = jsonschema.Draft202012Validator(schema)

    class Described(_Described):
        @model_validator(mode="before")
        @classmethod
        def _fits(cls, value: Any) -> Any:
            # References to itself may go in circles.
            try:
                faults = [_line(fault) for fault, _ in zip(checker.iter_errors(value), range(MAX_FAULTS), strict=False)]
            except RecursionError:
                faults = [_line_of("the schema refers to itself without end", ())]
            if faults:
                raise ValidationError.from_exception_data("params", faults)
            return value

        @classmethod
        def __get_pydantic_json_schema__(cls, _core: Any, _handler: Any) -> dict[str, Any]:
            return {"type": "object"} | schema

    return Described


def _line(fault: jsonschema.ValidationError) -> InitErrorDetails:
    return _line_of(fault.message, tuple(fault.absolute_path))


def _line_of(message: str, where: tuple[int | str, ...]) -> InitErrorDetails:
    text = clean_text(message, 300).replace("{", "(").replace("}", ")")
    return InitErrorDetails(type=PydanticCustomError("json_schema", text), loc=where, input=None)
