"""What goes wrong, as exceptions. Every one is a `JobsiteError`; its text is meant to be shown to people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class JobsiteError(Exception):
    """Anything that this package raises about a server or a job."""


class Unreachable(JobsiteError):
    """No usable answer came, also after the retries; whether the request was carried out is unknown."""


class UnexpectedAnswer(JobsiteError):
    """An answer came, but not from a Jobsite of this version."""


class WaitedTooLong(JobsiteError, TimeoutError):
    """What was waited for had not finished in the time that the caller gave. It goes on."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(f"{what} has not finished within {seconds:g} s; it goes on")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that is wrong with a request. `pointer` is a JSON pointer into its body."""

    detail: str
    pointer: str = ""


class Refused(JobsiteError):
    """The server refused the request, and did nothing of it. `code` is stable, e.g. "unknown-tool"."""

    def __init__(self, *, status: int, code: str, title: str, detail: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(detail or title)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.faults = list(faults)


class Unauthorised(Refused):
    """The token is missing, unknown or expired, or may not do this (401, 403)."""


class NotFound(Refused):
    """There is no such thing, or this token may not see it (404)."""


class Conflict(Refused):
    """The state of the job does not allow it (409)."""


class TooManyRequests(Refused):
    """Still refused for their number after the retries (429)."""


class ServerFault(Refused):
    """The server failed (5xx), also after the retries."""


class JobFailed(JobsiteError):
    """The job came to no good end. `error_class`, `message` and `category` are those of its last attempt."""

    def __init__(self, *, job_id: str, tool: str, status: str, message: str, error_class: str = "", category: str = "") -> None:
        super().__init__(f"job {job_id} {status}: {f'{error_class}: ' if error_class else ''}{message}")
        self.job_id = job_id
        self.tool = tool
        self.status = status
        self.message = message
        self.error_class = error_class
        self.category = category


class JobCancelled(JobFailed):
    """Somebody cancelled the job."""
