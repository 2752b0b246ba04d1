"""Errors: what a tool may raise, and what a caller is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar


class Category(StrEnum):
    """Why an attempt failed."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"
    TIMEOUT = "timeout"
    RESOURCE = "resource"
    DEPENDENCY = "dependency"
    INVALID_INPUT = "invalid_input"
    LOST = "lost"
    CANCELLED = "cancelled"


# --- raised by tools -------------------------------------------------------------------------------------------------
class Transient(Exception):
    """Worth trying again. `retry_after` (seconds) wins over the back-off of the policy."""

    def __init__(self, message: str = "temporarily unavailable", *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Permanent(Exception):
    """Trying again would fail again."""


# --- raised in tools, by us ------------------------------------------------------------------------------------------
class Stopped(BaseException):
    """Raised at the tool's next `progress()` or `check()`. A BaseException, so that `except Exception` lets it pass."""


class Cancelled(Stopped):
    """Somebody cancelled the job."""


class TimedOut(Stopped):
    """The job has used up its time."""


class OverMemory(Stopped):
    """The job's processes hold more memory than it may."""


class OverDisk(Stopped):
    """The job's folder holds more than it may."""


class Superseded(Stopped):
    """This attempt is no longer the current one: whatever it does from now on will be refused."""


class Interrupted(Stopped):
    """The worker is going down; the job goes back to pending."""


# --- told to callers -------------------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with a request. `pointer` is a JSON pointer into the body, "" for the whole."""

    detail: str
    pointer: str = ""


@dataclass
class Refused(Exception):
    """A request that was not carried out, and nothing of it was. Becomes RFC 9457 problem+json, or a message on the page."""

    detail: str
    problems: list[Problem] = field(default_factory=list)
    # Of several things that were asked for at once, the one that is at fault; from 0.
    place: int | None = None

    code: ClassVar[str] = "refused"
    title: ClassVar[str] = "The request was refused"
    http_status: ClassVar[int] = 422

    def __str__(self) -> str:
        return self.detail


class UnknownTool(Refused):
    code, title = "unknown-tool", "There is no such tool"


class InvalidParams(Refused):
    code, title = "invalid-params", "The params do not fit the tool's schema"


class InvalidRequest(Refused):
    code, title = "invalid-request", "The request is not well formed"


class MalformedJson(Refused):
    code, title, http_status = "malformed-json", "This is not JSON", 400


class UnknownDependency(Refused):
    code, title = "unknown-dependency", "A dependency does not exist"


class DependencyCycle(Refused):
    code, title = "dependency-cycle", "The dependencies form a cycle"


class RequirementTooLarge(Refused):
    code, title = "requirement-too-large", "The job needs more than the queue's limits allow"


class PayloadTooLarge(Refused):
    code, title, http_status = "payload-too-large", "The payload is too large", 413


class DuplicateId(Refused):
    code, title, http_status = "duplicate-id", "A job with this id exists", 409


class NotFound(Refused):
    code, title, http_status = "not-found", "It does not exist", 404


class IllegalMove(Refused):
    code, title, http_status = "illegal-move", "The job's state does not allow this", 409


@dataclass
class AlreadyActive(Refused):
    """`job_id` is the active job that is equal."""

    job_id: str = ""

    code, title, http_status = "already-active", "An equal job is active", 409


class IdempotencyMismatch(Refused):
    code, title = "idempotency-mismatch", "The key stands for another request"


class Conflict(Refused):
    code, title, http_status = "conflict", "Somebody else changed it meanwhile", 409


# The categories that another try may mend; jobs.classification finds them.
RETRIED = frozenset({Category.TRANSIENT, Category.TIMEOUT, Category.RESOURCE})
# What a tool's author may say that an exception means.
NAMEABLE = frozenset(Category) - {Category.LOST, Category.CANCELLED}
