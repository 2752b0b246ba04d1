"""A request for a job, checked against the tool and the limits before anything is written."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

import orjson
from django.conf import settings
from django.db.models import TextChoices
from pydantic import BaseModel, SecretBytes, SecretStr

from jobs import catalog, fallbacks, payloads, sealing, tools
from jobs.errors import InvalidRequest, Problem
from jobs.limits import Limits, Resources
from jobs.masking import mask
from jobs.models import Job
from jobs.payloads import Json
from jobs.retry import RetryWish
from jobs.states import DependencyPolicy, Operation, Priority
from jobs.tools import STANDARD, Tool, secret_names

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
MAX_DEPENDENCIES = 1000
_LATER = datetime.max.replace(tzinfo=UTC)

Choice = TypeVar("Choice", bound=TextChoices)


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What a caller asks for. What is None comes from the tool, then from the queue's configuration."""

    tool: str
    params: dict[str, Json] = field(default_factory=dict)
    id: str | None = None
    priority: str | None = None
    operation: str | None = None
    depends_on: Sequence[str] = ()
    timeout_ms: int | None = None
    max_retries: int | None = None
    retry: RetryWish = field(default_factory=RetryWish)  # max_retries wins over its own
    resources: Resources | None = None
    estimated_ms: int | None = None
    task_id: str = ""
    project: str = ""
    batch: str = ""
    concurrency_key: str = ""
    concurrency_limit: int = 1
    metadata: dict[str, Json] = field(default_factory=dict)
    run_at: datetime | None = None
    expires_at: datetime | None = None
    deduplicate: bool | None = None
    # Run and reported by the tool itself, not scheduled by us.
    standard: bool = False
    dependency_policy: str | None = None
    queue: str | None = None
    urgency: int | None = None  # -100..100, in the place of the priority for the place in line
    internal: bool = False  # may be of a tool that is not offered
    answers: Mapping[str, Json] = field(default_factory=dict)  # to what the tool would ask: key -> Reply, checked


def new_id(tool: str) -> str:
    """A readable id: the tool, the minute in base 32 (keeps the index local), and 50 random bits."""
    number = int(time.time()) // 60 << 50 | secrets.randbits(50)
    return f"{tool[:40]}-{''.join([_ALPHABET[(number >> shift) & 31] for shift in range(70, -1, -5)])}"


def prepare(wanted: Submission, limits: Limits) -> Job:
    """An unsaved Job with everything but its times, rank and gate. Raises a `Refused`."""
    tool = _tool_of(wanted)
    if tool.fallback:
        fallbacks.refuse_broken(tool)
    payloads.check(wanted.params, what="params", max_bytes=settings.MAX_PAYLOAD)
    payloads.check(wanted.metadata, what="metadata", max_bytes=64 * 1024)
    params = tool.validate(wanted.params)
    needs = wanted.resources or tool.resources
    _check_numbers(wanted, needs)
    limits.refuse_if_never_fits(needs)
    operation = _choice(Operation, wanted.operation, "operationType") or tool.operation
    retry = wanted.retry.over(tool.retry or limits.retry_of(operation))
    return Job(
        id=_checked_id(wanted.id) if wanted.id is not None else new_id(tool.name),
        kind=Job.Kind.STANDARD if wanted.standard else Job.Kind.TASK,
        tool=tool.name,
        params=sealing.seal(wanted.params, secret_names(tool.params)),
        operation=operation,
        priority=_choice(Priority, wanted.priority, "priority") or tool.priority,
        urgency=wanted.urgency,
        queue=STANDARD if wanted.standard else wanted.queue or tool.queue,
        memory_mb=needs.memory_mb,
        cpu_weight=needs.cpu_weight,
        disk_mb=needs.disk_mb,
        estimated_ms=wanted.estimated_ms,
        timeout_ms=wanted.timeout_ms or tool.timeout_ms or limits.timeout_ms(operation),
        max_retries=retry.max if wanted.max_retries is None else wanted.max_retries,
        retry_first_ms=round(retry.first * 1000),
        retry_factor=retry.factor,
        retry_cap_ms=round(retry.cap * 1000),
        task_id=check_label(wanted.task_id, "taskId"),
        project=check_label(wanted.project, "projectId"),
        batch=check_label(wanted.batch, "metadata/batchId"),
        concurrency_key=check_label(wanted.concurrency_key, "concurrencyKey"),
        concurrency_limit=wanted.concurrency_limit if wanted.concurrency_key else 0,
        dependency_policy=_choice(DependencyPolicy, wanted.dependency_policy, "dependencyPolicy") or DependencyPolicy.FAIL,
        fingerprint=_fingerprint(tool.name, params) if _is_deduplicated(wanted, tool) else "",
        metadata=mask(wanted.metadata),
        run_at=wanted.run_at,
        expires_at=wanted.expires_at,
        # Set on submit; left out, an expression for the database's clock would be made and thrown away.
        gate_since=_LATER,
    )


def _tool_of(wanted: Submission) -> Tool:
    """A standard job may be of a tool that nobody registered: whoever hands it in runs it."""
    if wanted.standard:
        return catalog.find(wanted.tool) or catalog.unregistered(wanted.tool)
    return tools.get(wanted.tool) if wanted.internal else catalog.get(wanted.tool)


def copy_of(job: Job) -> Submission:
    """A request for the same work under the same conditions; not for the same time, and after no other jobs."""
    return Submission(
        tool=job.tool,
        params=sealing.open_all(job.params)[0],
        priority=job.priority,
        operation=job.operation or None,
        timeout_ms=job.timeout_ms,
        max_retries=job.max_retries,
        retry=RetryWish(first=job.retry_first_ms / 1000, factor=job.retry_factor, cap=job.retry_cap_ms / 1000),
        resources=Resources(memory_mb=job.memory_mb, cpu_weight=job.cpu_weight, disk_mb=job.disk_mb),
        estimated_ms=job.estimated_ms,
        task_id=job.task_id,
        project=job.project,
        batch=job.batch,
        concurrency_key=job.concurrency_key,
        concurrency_limit=job.concurrency_limit or 1,
        metadata=job.metadata,
        standard=job.kind == Job.Kind.STANDARD,
        dependency_policy=job.dependency_policy,
    )


def revised(job: Job, params: dict[str, Json]) -> tuple[dict[str, Json], str]:
    """Other params for a job that is there: (params, fingerprint), checked as on the first day. Raises a `Refused`."""
    tool = _tool_of(copy_of(job))
    payloads.check(params, what="params", max_bytes=settings.MAX_PAYLOAD)
    checked = tool.validate(params)
    sealed = sealing.seal(params, secret_names(tool.params))
    return sealed, _fingerprint(tool.name, checked) if job.fingerprint else ""


def _is_deduplicated(wanted: Submission, tool: Tool) -> bool:
    return tool.deduplicate if wanted.deduplicate is None else wanted.deduplicate


def _fingerprint(tool: str, params: BaseModel) -> str:
    """Equal for equal requests: params as the tool sees them, defaults filled in, keys sorted.

    With a key, because a guess at a secret among the params could be checked against a plain hash.
    """
    values = params.model_dump(by_alias=True)
    text = orjson.dumps([tool, values], default=_plain, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    return hmac.new(settings.SECRET_KEY.encode(), text, hashlib.sha256).hexdigest()


def _plain(value: object) -> Json:
    """What JSON has no form for."""
    if isinstance(value, SecretStr | SecretBytes):
        return str(value.get_secret_value())
    return sorted(map(repr, value)) if isinstance(value, set | frozenset) else str(value)


def _checked_id(given: str) -> str:
    if ID.fullmatch(given):
        return given
    raise invalid("an id has 1 to 64 letters, digits or . _ : - and begins with a letter or digit", "id")


def check_label(text: str, name: str) -> str:
    """A short text of the caller's. Raises `InvalidRequest` or another `Refused`."""
    if not text:
        return ""
    payloads.check(text, what=name, max_bytes=1000)
    if len(text) > 100:
        raise invalid(f"{name} has at most 100 characters", name)
    return text


def _choice(choices: type[Choice], given: str | None, name: str) -> Choice | None:
    if given is None:
        return None
    try:
        return choices(given)
    except ValueError:
        known = ", ".join(choices.values)
        raise invalid(f"{name} {payloads.clean_text(given, 50)!r} is unknown; it is one of {known}", name) from None


def _check_numbers(wanted: Submission, needs: Resources) -> None:
    refuse_out_of_bounds({
        "timeoutMs": wanted.timeout_ms,
        "concurrencyLimit": wanted.concurrency_limit,
        "maxRetries": wanted.max_retries,
        "retryPolicy/maxRetries": wanted.retry.max,
        "retryPolicy/backoffMultiplier": wanted.retry.factor,
        "retryPolicy/initialDelayMs": _in_ms(wanted.retry.first),
        "retryPolicy/maxDelayMs": _in_ms(wanted.retry.cap),
        "estimatedDuration": wanted.estimated_ms,
        "urgency": wanted.urgency,
        "resourceRequirements/memoryMB": needs.memory_mb,
        "resourceRequirements/cpuWeight": needs.cpu_weight,
        "resourceRequirements/diskSpaceMB": needs.disk_mb,
    })  # fmt: skip
    refuse_too_many_dependencies(len(wanted.depends_on), "dependencies")


_DAY_MS = 24 * 3600 * 1000
# The least and the most of what a caller may ask for, by the names that callers use.
_BOUNDS = {
    "timeoutMs": (1, 30 * _DAY_MS),
    "concurrencyLimit": (1, 1_000_000),
    "maxRetries": (0, 1000),
    "retryPolicy/maxRetries": (0, 1000),
    "retryPolicy/backoffMultiplier": (1, 100),
    "retryPolicy/initialDelayMs": (0, 30 * _DAY_MS),
    "retryPolicy/maxDelayMs": (0, 30 * _DAY_MS),
    "estimatedDuration": (0, 365 * _DAY_MS),
    "urgency": (-100, 100),
    "resourceRequirements/memoryMB": (0, 2**31 - 1),
    "resourceRequirements/cpuWeight": (0, 1e6),
    "resourceRequirements/diskSpaceMB": (0, 2**31 - 1),
}


def refuse_out_of_bounds(numbers: Mapping[str, float | None]) -> None:
    """`numbers` by the names that callers use; None is none. Raises `InvalidRequest`."""
    for name, value in numbers.items():
        least, most = _BOUNDS[name]
        if value is not None and not least <= value <= most:
            raise invalid(f"{name} must be from {least:.15g} to {most:.15g}", name)


def refuse_too_many_dependencies(number: int, name: str) -> None:
    if number > MAX_DEPENDENCIES:
        raise invalid(f"at most {MAX_DEPENDENCIES} dependencies are allowed", name)


def _in_ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def invalid(detail: str, name: str) -> InvalidRequest:
    """What is wrong with the field of this name."""
    return InvalidRequest(detail, [Problem(detail=detail, pointer=f"/{name}")])
