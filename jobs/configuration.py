"""The queue's configuration: one row, made from the environment on first start, read as `Limits`."""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Mapping
from dataclasses import replace

from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from jobs import tools
from jobs.limits import Group, GroupKind, Limits, Resources, Rule
from jobs.models import GroupRule, QueueConfig
from jobs.payloads import Json
from jobs.retry import Retry, RetryWish
from jobs.states import Operation, Priority

MONTH_MS = 30 * 24 * 3600 * 1000
# What each number may be, from and to, and whether it is whole; and the variable it comes from on first start.
BOUNDS: dict[str, tuple[float, float, bool, str]] = {
    "max_concurrent_jobs": (0, 100_000, True, "JOB_MANAGER_MAX_CONCURRENT"),
    "max_retries": (0, 1000, True, "JOB_MANAGER_MAX_RETRIES"),
    "backoff_multiplier": (1, 100, False, "JOB_MANAGER_BACKOFF_MULTIPLIER"),
    "initial_delay_ms": (0, MONTH_MS, True, "JOB_MANAGER_INITIAL_DELAY_MS"),
    "max_delay_ms": (0, MONTH_MS, True, "JOB_MANAGER_MAX_DELAY_MS"),
    "default_timeout_ms": (1, MONTH_MS, True, "JOB_MANAGER_DEFAULT_TIMEOUT_MS"),
    "max_memory_mb": (0, 2**31 - 1, True, "JOB_MANAGER_MAX_MEMORY_MB"),
    "max_cpu_weight": (0, 1e6, False, "JOB_MANAGER_MAX_CPU_WEIGHT"),
    "max_disk_mb": (0, 2**31 - 1, True, "JOB_MANAGER_MAX_DISK_MB"),
}
TABLES = {
    "priority_weights": "JOB_MANAGER_PRIORITY_WEIGHTS",
    "operation_timeouts": "JOB_MANAGER_OPERATION_TIMEOUTS",
    "operation_retries": "JOB_MANAGER_OPERATION_RETRIES",
}
# What a policy of an operation is made of, the column whose bounds each part has, and the part of a RetryWish it becomes.
_RETRY_PARTS = {
    "maxRetries": ("max_retries", "max"),
    "backoffMultiplier": ("backoff_multiplier", "factor"),
    "initialDelayMs": ("initial_delay_ms", "first"),
    "maxDelayMs": ("max_delay_ms", "cap"),
}


def row() -> QueueConfig:
    """The one row; made from the JOB_MANAGER_* variables if it is not there yet. Raises `ImproperlyConfigured`."""
    found = QueueConfig.objects.filter(id=1).first()
    if found is None:
        found, _ = QueueConfig.objects.get_or_create(id=1, defaults=_from_environment())
    return found


def _from_environment() -> dict[str, Json]:
    values: dict[str, Json] = {}
    variables = {name: bounds[3] for name, bounds in BOUNDS.items()} | TABLES
    for name, variable in variables.items():
        if given := os.environ.get(variable):
            try:
                values[name] = json.loads(given)
            except json.JSONDecodeError:
                raise ImproperlyConfigured(f"{variable} is not a number or JSON: {given[:100]!r}") from None
    for name, detail in faults(values):
        raise ImproperlyConfigured(f"{variables[name]}: {detail}")
    return values


def faults(values: Mapping[str, Json]) -> list[tuple[str, str]]:
    """What is wrong with these columns of the row: (column, what to do). What would stop or confuse the dispatcher is refused."""
    found: list[tuple[str, str]] = []
    for name, value in values.items():
        if name in TABLES:
            detail = _TABLE_FAULTS[name](value)
        elif name in BOUNDS:
            detail = _number_fault(name, value)
        else:
            detail = "There is no such setting."
        if detail:
            found.append((name, detail))
    first, longest = values.get("initial_delay_ms"), values.get("max_delay_ms")
    if not found and first is not None and longest is not None and longest < first:
        found.append(("max_delay_ms", "Not less than the initial delay."))
    return found


def _number_fault(name: str, value: Json) -> str:
    least, most, whole, _ = BOUNDS[name]
    # Written this way round, NaN is refused too.
    right = isinstance(value, int if whole else int | float) and not isinstance(value, bool) and least <= value <= most
    return "" if right else f"{'A whole number from' if whole else 'From'} {least:g} to {most:.10g}."


def _weights(value: Json) -> str:
    detail = _numbers(value, set(Priority.values))
    if not detail and (missing := set(Priority.values) - value.keys()):
        detail = f"A weight is missing: {', '.join(sorted(missing))}."
    if not detail and any(not 0 < weight <= 1_000_000 for weight in value.values()):
        detail = "A weight is more than 0 and at most 1,000,000."
    return detail


def _timeouts(value: Json) -> str:
    detail = _numbers(value, set(Operation.values))
    if not detail and any(not isinstance(ms, int) or not 1 <= ms <= MONTH_MS for ms in value.values()):
        detail = f"A time-out is a whole number of milliseconds from 1 to {MONTH_MS}."
    return detail


def _numbers(value: Json, known: set[str]) -> str:
    if not isinstance(value, dict):
        return "An object of names and numbers is expected."
    if unknown := value.keys() - known:
        return f"Unknown: {', '.join(sorted(map(str, unknown)))[:200]}; there are {', '.join(sorted(known))}."
    if any(isinstance(n, bool) or not isinstance(n, int | float) or not math.isfinite(n) for n in value.values()):
        return "Every value must be a number."
    return ""


def _retries(value: Json) -> str:
    if not isinstance(value, dict) or not all(isinstance(policy, dict) for policy in value.values()):
        return "An object of operations and their policies is expected."
    if unknown := value.keys() - set(Operation.values):
        return f"Unknown: {', '.join(sorted(map(str, unknown)))[:200]}; there are {', '.join(sorted(Operation.values))}."
    for operation, policy in value.items():
        if unknown := policy.keys() - _RETRY_PARTS.keys():
            return f"{operation}: unknown {', '.join(sorted(map(str, unknown)))[:200]}; there are {', '.join(_RETRY_PARTS)}."
        for part, given in policy.items():
            if detail := _number_fault(_RETRY_PARTS[part][0], given):
                return f"{operation}, {part}: {detail}"
    return ""


_TABLE_FAULTS = {"priority_weights": _weights, "operation_timeouts": _timeouts, "operation_retries": _retries}


def retry_wish(policy: Mapping[str, float]) -> RetryWish:
    """A policy as it stands in JSON, delays in milliseconds."""
    parts = {_RETRY_PARTS[name][1]: value / 1000 if name.endswith("Ms") else value for name, value in policy.items()}
    return RetryWish(**parts)  # type: ignore[arg-type]  # _retries has seen to the types


def limits() -> Limits:
    """What holds right now, without the rules of groups. One small query: the row itself is read anew when it has changed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT xmin::text || ctid::text FROM jobs_queueconfig")
        version = cursor.fetchone()
    return _limits_of(row()) if version is None else _unchanged_limits(version[0])


@functools.lru_cache(maxsize=1)
def _unchanged_limits(_version: str) -> Limits:
    return _limits_of(row())


def rules() -> dict[Group, Rule]:
    """The rules of all groups that have one: what a tool's author wrote, unless an operator set a rule for the tool."""
    found: dict[Group, Rule] = {(GroupKind.TOOL.value, tool.name): tool.rule for tool in tools.registered() if tool.rule != Rule()}
    for rule in GroupRule.objects.all():
        written = found.get((rule.kind, rule.name), Rule())
        limited = rule.max_running is not None or rule.per_minute is not None
        found[rule.kind, rule.name] = Rule(
            max_running=rule.max_running if limited else written.max_running,
            per_minute=rule.per_minute if limited else written.per_minute,
            paused=rule.paused_at is not None,
        )
    return found


@functools.lru_cache(maxsize=1)
def limits_at(_version: str) -> Limits:
    """What holds, rules too, while the row has the version that the caller saw: most rounds so spend no query on it.

    Whoever changes a rule touches the row as well (jobs.steering).
    """
    return replace(limits(), rules=rules())


def _limits_of(config: QueueConfig) -> Limits:
    return Limits(
        max_concurrent=config.max_concurrent_jobs,
        weights=config.priority_weights,
        reranking=config.ranked_to is not None,
        retry=Retry(
            max=config.max_retries,
            first=config.initial_delay_ms / 1000,
            factor=config.backoff_multiplier,
            cap=config.max_delay_ms / 1000,
        ),
        default_timeout_ms=config.default_timeout_ms,
        operation_timeouts_ms=config.operation_timeouts,
        operation_retries={operation: retry_wish(policy) for operation, policy in config.operation_retries.items()},
        resources=Resources(memory_mb=config.max_memory_mb, cpu_weight=config.max_cpu_weight, disk_mb=config.max_disk_mb),
    )
