"""The registry of tools: what a tool author writes, and what the rest of the system knows about it."""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model

from jobs.errors import NAMEABLE, Category, InvalidParams, Problem, UnknownTool
from jobs.limits import Resources, Rule
from jobs.payloads import Json, clean_text, escaped
from jobs.questions import Question
from jobs.retry import Retry
from jobs.states import Operation, Priority

ToolFunction = TypeVar("ToolFunction", bound=Callable[..., Any])

# Queues without Celery workers: jobs that external workers claim, and jobs that the tool itself runs and reports.
EXTERNAL, STANDARD = "external", "standard"

TaskSupport = Literal["forbidden", "optional", "required"]
NAME = re.compile(r"[a-z][a-z0-9_]*([.-][a-z0-9_]+)*")


@dataclass(frozen=True, kw_only=True)
class ParentResult:
    """What a job that this one depends on came to."""

    id: str
    tool: str
    status: str
    result: Json


class JobContext(Protocol):
    """What a running tool is given as `job`."""

    @property
    def id(self) -> str:
        """The job's id."""

    @property
    def fence(self) -> int:
        """The attempt's id: pass it on to outside systems so that they can refuse a superseded attempt."""

    @property
    def parents(self) -> list[ParentResult]:
        """The results of the jobs this one depends on, in the order they were named."""

    def progress(
        self, percent: float, message: str | None = None, *, stage: str | None = None, sub_progress: float | None = None
    ) -> None:
        """Report 0..100. Costs about a microsecond, call it as often as you like. Raises `Cancelled` or `TimedOut`."""

    def diagnostic(self, text: str) -> None:
        """Add a line to the job's diagnostics; at most 1,000 are kept a job."""

    def metadata(self, **values: Json) -> None:
        """Merge values into the job's metadata."""

    def checkpoint(self, data: Json) -> None:
        """Leave this for the next attempt, should this one not come to its end; the latest counts.

        Call it as often as you like: it is stored about once a second, and before an attempt that failed or was interrupted ends.
        JSON of at most 256 KB, with secrets covered; raises `ValueError` for more.
        """

    @property
    def checkpoint_data(self) -> Json:
        """What an attempt before this one has left by `checkpoint`; None: nothing."""

    @property
    def workdir(self) -> Path:
        """A folder of this attempt alone, made when it is first asked for and removed when the attempt ends.

        What is in it may take the job's diskMB, where it names any: with more the attempt fails.
        """

    def check(self) -> None:
        """Raises `Cancelled` or `TimedOut` if the job was told to stop."""

    def ask(self, **questions: Question) -> dict[str, Any]:
        """The answers by key, each an instance of the question's `answer` type, or None where nobody wanted to say.

        What is not answered yet ends this attempt: the job gives its slot back, waits, and begins anew when the answers are
        there. So ask first and work then; several questions in one call are put at once.
        """


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A named kind of work."""

    name: str
    run: Callable[..., Any]
    params: type[BaseModel]
    # True: run(params, job). False: run(**params[, job=job]), the params model was made from the signature.
    takes_model: bool
    takes_job: bool
    result: TypeAdapter[Any] | None = None
    operation: Operation = Operation.EXECUTION
    priority: Priority = Priority.MEDIUM
    timeout_ms: int | None = None
    retry: Retry | None = None
    resources: Resources = field(default_factory=Resources)
    queue: str = "default"
    rule: Rule = field(default_factory=Rule)
    deduplicate: bool = False
    errors: Mapping[type[BaseException], Category] = field(default_factory=dict)
    task_support: TaskSupport = "optional"
    asks: Mapping[str, Question] = field(default_factory=dict)
    # The tool that goes on with a job which this one gives up.
    fallback: str = ""
    # Jobs of it are made by code of the project only, not by who has a token.
    internal: bool = False
    description: str = ""

    def validate(self, params: Mapping[str, Any]) -> BaseModel:
        """The params as the tool's own type. Raises `InvalidParams` with a JSON pointer to each fault."""
        try:
            return self.params.model_validate(params)
        except ValidationError as error:
            problems = [
                Problem(
                    detail=clean_text(fault["msg"], 300),
                    pointer="/".join(["/params", *(escaped(clean_text(str(p), 80)) for p in fault["loc"])]),
                )
                for fault in error.errors(include_url=False, include_context=False, include_input=False)[:20]
            ]
            detail = "; ".join(f"{p.pointer.removeprefix('/params/')}: {p.detail}" for p in problems[:3])
            raise InvalidParams(f"params do not fit tool {self.name!r}: {detail}", problems) from error

    def arguments(self, params: BaseModel, job: JobContext) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """How to call `run`."""
        if self.takes_model:
            return ((params, job) if self.takes_job else (params,)), {}
        values = {name: getattr(params, name) for name in type(params).model_fields}
        return (), values | ({"job": job} if self.takes_job else {})


_registry: dict[str, Tool] = {}


def tool(
    name: str,
    *,
    operation: str = "execution",
    params: type[BaseModel] | None = None,
    priority: str = "medium",
    timeout: float | None = None,
    retry: Retry | None = None,
    resources: Resources | None = None,
    queue: str = "default",
    max_running: int | None = None,
    per_minute: int | None = None,
    deduplicate: bool = False,
    errors: Mapping[type[BaseException], Category | str] | None = None,
    task_support: TaskSupport = "optional",
    asks: Mapping[str, Question] | None = None,
    fallback: str = "",
) -> Callable[[ToolFunction], ToolFunction]:
    """Register a function as a tool. `timeout` is seconds.

    With `params` the function is called as `run(params, job)`. Without, its own keyword parameters are the params:
    `def add(a: int, b: int) -> int`. A parameter named `job` gets the `JobContext`. `async def` works too.
    `queue` names the workers that run it. At most `max_running` of its jobs run at once, and `per_minute` start in any sixty
    seconds; a rule that an operator sets for the tool takes their place. With `deduplicate`, a submit with the params of a job that
    is pending or running gives that job instead of a new one.
    `errors` says of exception types what they mean here: `{QuotaExceeded: "transient"}`; see `jobs.classification` for the rest.
    `fallback` names the tool that goes on with the same params when this one gives a job up; that may have one in turn.
    `task_support` and `asks` (questions for `job.ask()` that can be put before there is a job) are for agents: see docs/mcp.md.
    """
    _check_names(name, queue, fallback)

    def register(run: ToolFunction) -> ToolFunction:
        hints = get_type_hints(run)
        parameters = inspect.signature(run).parameters
        result = hints.get("return")
        _refuse_twin(name, run)
        _registry[name] = Tool(
            name=name,
            run=run,
            params=params or _model_of(name, parameters, hints),
            takes_model=params is not None,
            takes_job=len(parameters) > 1 if params else "job" in parameters,
            result=None if result in (None, type(None), Any) else TypeAdapter(result),
            operation=Operation(operation),
            priority=Priority(priority),
            timeout_ms=None if timeout is None else round(timeout * 1000),
            retry=retry,
            resources=resources or Resources(),
            queue=queue,
            deduplicate=deduplicate,
            errors=_checked(errors or {}),
            task_support=task_support,
            asks=asks or {},
            fallback=fallback,
            rule=Rule(max_running=max_running, per_minute=per_minute),
            description=inspect.cleandoc(run.__doc__ or "").split("\n\n")[0],
        )
        return run

    return register


def _checked(errors: Mapping[type[BaseException], Category | str]) -> Mapping[type[BaseException], Category]:
    """What an exception can mean; LOST and the like are found out otherwise."""
    named = {error: Category(category) for error, category in errors.items()}
    if wrong := [error.__name__ for error, category in named.items() if category not in NAMEABLE]:
        raise ValueError(f"errors of {', '.join(wrong)}: use one of {', '.join(sorted(NAMEABLE))}")
    return named


def _check_names(name: str, queue: str, fallback: str) -> None:
    _refuse_circle(name, fallback)
    if queue in (EXTERNAL, STANDARD):
        raise ValueError(f"tool {name!r}: no worker of ours serves the queue {queue!r}")
    if not NAME.fullmatch(name):
        raise ValueError(f"tool name {name!r}: use lower case letters, digits and . - _, beginning with a letter")


def _refuse_twin(name: str, run: Callable[..., Any]) -> None:
    known = _registry.get(name)
    if known is not None and (known.run.__module__, known.run.__qualname__) != (run.__module__, run.__qualname__):
        raise ValueError(f"tool {name!r} is registered twice: {known.run.__module__} and {run.__module__}")


def _refuse_circle(name: str, fallback: str) -> None:
    chain = [name]
    while fallback:
        if fallback in chain:
            raise ValueError(f"fallbacks go in a circle: {' -> '.join([*chain, fallback])}")
        chain.append(fallback)
        known = _registry.get(fallback)
        fallback = known.fallback if known else ""


def fallbacks_of(tool: Tool) -> list[str]:
    """The tools that would go on with its jobs, one after the other; the last may be unknown here."""
    chain: list[str] = []
    following: Tool | None = tool
    while following is not None and following.fallback:
        chain.append(following.fallback)
        following = _registry.get(following.fallback)
    return chain


@functools.lru_cache(maxsize=1000)
def secret_names(params: type[BaseModel]) -> frozenset[str]:
    """Names of fields whose type says that they are secret (`SecretStr`; in a JSON Schema `writeOnly`), at any depth."""
    return frozenset(_secret_names(params.model_json_schema()))


def _secret_names(schema: Json) -> Iterator[str]:
    match schema:
        case list():
            for part in schema:
                yield from _secret_names(part)
        case dict():
            fields = schema.get("properties")
            for name, about in fields.items() if isinstance(fields, dict) else ():
                if any(isinstance(kind, dict) and kind.get("writeOnly") is True for kind in (about, *_choices(about))):
                    yield name
            for part in schema.values():
                yield from _secret_names(part)


def _choices(schema: Json) -> list[Json]:
    return list(schema.get("anyOf") or []) if isinstance(schema, dict) else []


def _model_of(name: str, parameters: Mapping[str, inspect.Parameter], hints: Mapping[str, Any]) -> type[BaseModel]:
    fields: dict[str, Any] = {
        key: (hints.get(key, Any), ... if parameter.default is parameter.empty else parameter.default)
        for key, parameter in parameters.items()
        if key != "job"
    }
    title = "".join(part.title() for part in re.split(r"[._-]", name)) + "Params"
    return create_model(title, __config__=ConfigDict(extra="forbid"), **fields)


def get(name: str) -> Tool:
    """Raises `UnknownTool`, naming the tools there are."""
    try:
        return _registry[name]
    except KeyError:
        known = ", ".join(sorted(_registry)) or "none"
        raise UnknownTool(
            f"there is no tool {clean_text(name, 100)!r}; registered: {known}",
            [Problem(detail="unknown tool", pointer="/toolName")],
        ) from None


def get_to_run(name: str, params: Mapping[str, Any]) -> Tool:
    """As `get`, for a job that runs. A task whose module this process has not seen registers itself when that is imported."""
    path = params.get("task")
    if name not in _registry and isinstance(path, str):
        with contextlib.suppress(ImportError):  # then there is no such tool, and `get` says so
            import_module(path.rpartition(".")[0])
    return get(name)


def add(tool: Tool) -> None:
    """Register a tool that is made by other code than `@tool`; again, where it was made anew."""
    _registry[tool.name] = tool


def names() -> Collection[str]:
    return {name for name, tool in _registry.items() if not tool.internal}


def every() -> list[Tool]:
    """All registered tools that jobs may be handed in for, by name."""
    return [tool for tool in registered() if not tool.internal]


def registered() -> list[Tool]:
    """All tools by name, also internal ones."""
    return sorted(_registry.values(), key=lambda t: t.name)
