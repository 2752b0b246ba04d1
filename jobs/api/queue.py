"""The queue as a whole: its configuration, limits of groups, pauses."""

from __future__ import annotations

from typing import Annotated, Any

from ninja import Router
from pydantic import ConfigDict, Field

from jobs import configuration, steering
from jobs.api.auth import ADMIN, CONTROL, READ, ApiRequest
from jobs.api.queue_shapes import JobQueueConfig, Rule, queue_config, rule
from jobs.api.requests import Label, Sent, Whole
from jobs.api.wire import WIRE
from jobs.errors import InvalidRequest, Problem
from jobs.limits import GroupKind
from jobs.schemas import Shape

router = Router(tags=["queue"])


class Strict(Sent):
    model_config = ConfigDict(strict=True)


class NewRetryPolicy(Strict):
    max_retries: int | None = None
    backoff_multiplier: float | None = None
    initial_delay_ms: int | None = None
    operation_retries: dict[str, dict[str, int | float]] | None = None


class NewTimeoutPolicy(Strict):
    default_timeout_ms: int | None = None
    operation_timeouts: dict[str, int] | None = None


class NewResourceLimits(Strict):
    max_memory_mb: Annotated[int | None, Field(alias="maxMemoryMB")] = None
    max_cpu_weight: float | None = None
    max_disk_mb: Annotated[int | None, Field(alias="maxDiskSpaceMB")] = None


class NewConfig(Strict):
    """What is left out stays. `version` is the one that you saw: when somebody else was faster, you are told."""

    version: int
    max_concurrent_jobs: int | None = None
    max_retry_delay_ms: int | None = None
    priority_weights: dict[str, float] | None = None
    retry_policy: NewRetryPolicy = NewRetryPolicy()
    timeout_policy: NewTimeoutPolicy = NewTimeoutPolicy()
    resource_limits: NewResourceLimits = NewResourceLimits()

    def changes(self) -> dict[str, Any]:
        """By the names of the columns."""
        own = {
            "max_concurrent_jobs": self.max_concurrent_jobs,
            "priority_weights": self.priority_weights,
            "max_delay_ms": self.max_retry_delay_ms,
        }
        parts = [part.model_dump() for part in (self.retry_policy, self.timeout_policy, self.resource_limits)]
        every = {name: value for given in (own, *parts) for name, value in given.items()}
        return {name: value for name, value in every.items() if value is not None}


# Where in the body a column stands.
_PLACES = {
    "max_concurrent_jobs": "/maxConcurrentJobs",
    "priority_weights": "/priorityWeights",
    "max_retries": "/retryPolicy/maxRetries",
    "backoff_multiplier": "/retryPolicy/backoffMultiplier",
    "initial_delay_ms": "/retryPolicy/initialDelayMs",
    "operation_retries": "/retryPolicy/operationRetries",
    "max_delay_ms": "/maxRetryDelayMs",
    "default_timeout_ms": "/timeoutPolicy/defaultTimeoutMs",
    "operation_timeouts": "/timeoutPolicy/operationTimeouts",
    "max_memory_mb": "/resourceLimits/maxMemoryMB",
    "max_cpu_weight": "/resourceLimits/maxCpuWeight",
    "max_disk_mb": "/resourceLimits/maxDiskSpaceMB",
}


class NewRule(Sent):
    """Both limits are set; null or left out is none."""

    max_running: Annotated[Whole, Field(ge=0, le=1_000_000)] | None = None
    per_minute: Annotated[Whole, Field(ge=1, le=1_000_000, description="starts in any sixty seconds")] | None = None


class ToPause(Sent):
    """`kind` all, without a name, is everything."""

    kind: GroupKind = GroupKind.ALL
    name: Label = ""
    reason: Annotated[str, Field(max_length=500)] = ""


class ToResume(Sent):
    kind: GroupKind = GroupKind.ALL
    name: Label = ""


class RuleList(Shape):
    rules: list[Rule]


@router.get("/config", response=JobQueueConfig, auth=READ, operation_id="getQueueConfig", **WIRE)
def get_queue_config(request: ApiRequest) -> JobQueueConfig:
    """How much may run at once, in which order, how long and how often."""
    return queue_config(configuration.row())


@router.patch("/config", response=JobQueueConfig, auth=ADMIN, operation_id="changeQueueConfig", **WIRE)
def change_queue_config(request: ApiRequest, wanted: NewConfig) -> JobQueueConfig:
    """Change the configuration; it holds when this answers. Other weights rank anew what waits, within seconds."""
    try:
        row = steering.configure(wanted.changes(), version=wanted.version, by=request.caller.name)
    except InvalidRequest as refusal:
        problems = [Problem(detail=p.detail, pointer=_PLACES[p.pointer.removeprefix("/")]) for p in refusal.problems]
        raise InvalidRequest(refusal.detail, problems) from None
    return queue_config(row)


@router.get("/rules", response=RuleList, auth=READ, operation_id="listRules", **WIRE)
def rules(request: ApiRequest) -> RuleList:
    """Groups that have a limit or a pause."""
    return RuleList(rules=[rule(row) for row in steering.every_rule()])


@router.put("/rules/{kind}/{path:name}", response=Rule, auth=ADMIN, operation_id="setRule", **WIRE)
def set_rule(request: ApiRequest, kind: str, name: str, wanted: NewRule) -> Rule:
    """Limit a tool, operation, project, concurrency key or queue; no start exceeds it once this has answered."""
    row = steering.limit(_kind(kind), name, max_running=wanted.max_running, per_minute=wanted.per_minute, by=request.caller.name)
    return rule(row)


@router.post("/pause", response=Rule, auth=CONTROL, operation_id="pauseGroup", **WIRE)
def pause(request: ApiRequest, wanted: ToPause) -> Rule:
    """Nothing of the group starts any more; what runs goes on."""
    return rule(steering.pause(wanted.kind, wanted.name, by=request.caller.name, reason=wanted.reason))


@router.post("/resume", response=Rule, auth=CONTROL, operation_id="resumeGroup", **WIRE)
def resume(request: ApiRequest, wanted: ToResume) -> Rule:
    """Take back a pause."""
    return rule(steering.resume(wanted.kind, wanted.name, by=request.caller.name))


def _kind(kind: str) -> GroupKind:
    if kind in GroupKind.values:
        return GroupKind(kind)
    raise InvalidRequest(f"there is no kind of group {kind[:40]!r}; there are {', '.join(GroupKind.values)}")
