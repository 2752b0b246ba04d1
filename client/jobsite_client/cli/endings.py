"""How the command ends: its exit codes, which scripts may rely on, and what people are told."""

from __future__ import annotations

from enum import IntEnum

from rich.console import Console
from rich.text import Text

from jobsite_client.cli.plain import plain
from jobsite_client.errors import (
    JobFailed,
    JobsiteError,
    NotFound,
    Refused,
    ServerFault,
    Unauthorised,
    UnexpectedAnswer,
    Unreachable,
    WaitedTooLong,
)


class Exit(IntEnum):
    OK = 0
    JOB_FAILED = 1  # the job failed or was cancelled; of a batch, at least one did
    USAGE = 2
    NOT_FOUND = 3
    UNAUTHORISED = 4
    UNREACHABLE = 5
    REFUSED = 6
    STILL_RUNNING = 7  # --timeout passed first
    SERVER_FAULT = 8
    INTERRUPTED = 130  # Ctrl-C


# The first that fits; the kinds of `Refused` stand before it.
_CODES: list[tuple[type[JobsiteError], Exit]] = [
    (JobFailed, Exit.JOB_FAILED),
    (NotFound, Exit.NOT_FOUND),
    (Unauthorised, Exit.UNAUTHORISED),
    (Unreachable, Exit.UNREACHABLE),
    (ServerFault, Exit.SERVER_FAULT),
    (UnexpectedAnswer, Exit.SERVER_FAULT),
    (WaitedTooLong, Exit.STILL_RUNNING),
    (Refused, Exit.REFUSED),
]
_ADVICE: list[tuple[type[JobsiteError], str]] = [
    (
        Unauthorised,
        "Give a token with --token or in JOBSITE_TOKEN. On the server, `manage.py token create --name me` makes one.",
    ),
    (Unreachable, "Is it running? Give its address with --url or in JOBSITE_URL."),
]


def code_of(error: JobsiteError) -> Exit:
    return next((code for kind, code in _CODES if isinstance(error, kind)), Exit.SERVER_FAULT)


def tell(error: JobsiteError, console: Console) -> None:
    """The error in words, on the standard error output."""
    console.print(Text.assemble(("error: ", "bold red"), plain(str(error))), soft_wrap=True)
    if isinstance(error, Refused):
        for fault in error.faults:
            if fault.detail not in str(error):
                console.print(Text(plain(f"  {fault.pointer} {fault.detail}")), soft_wrap=True)
    for kind, advice in _ADVICE:
        if isinstance(error, kind):
            console.print(Text(advice), soft_wrap=True)
