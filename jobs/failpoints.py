"""Named points at which a process can be made to die, hang or fail: how the fault suite reaches the moments between two steps.

Off unless JOBSITE_FAILPOINTS names some, as in `finish.before=kill`; then `failpoint` costs one look at an empty
dictionary. JOBSITE_FAILPOINTS_TAKEN names a folder: each point then acts once in all processes together, not once in each.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

# Every point there is, and what lies just behind it.
POINTS = {
    "submit.before_commit": "job, dependencies and event are written, not committed",
    "submit.after_commit": "committed; neither the dispatcher nor the caller knows",
    "admit.after": "attempts are committed; no doorbell was rung",
    "ring.after": "doorbells are sent; that is not noted",
    "settle.before_commit": "the dependents of what ended badly are moved, not committed",
    "settle.after": "dependents are moved; nothing was admitted",
    "lose.before": "a lease was seen to be over; nothing is written",
    "lose.after": "the attempt is lost; the next is not admitted",
    "start.before": "the doorbell is taken from the queue; nothing is written",
    "start.after": "the attempt is running; its tool is not",
    "finish.before": "the tool has returned; nothing is written",
    "finish.after": "the end is committed, and the next start with it; that one does not run yet",
    "beat.before": "the tool runs, and its lease is about to be renewed",
    "cancel.before_commit": "the wish is written, not committed",
    "interrupt.before": "the worker goes down; its job has not gone back to pending",
}


def _read(text: str) -> dict[str, str]:
    found = dict(part.split("=", 1) for part in text.split(",") if part)
    if unknown := found.keys() - POINTS:
        raise ValueError(f"JOBSITE_FAILPOINTS names what is no point: {sorted(unknown)}")
    return found


_armed = _read(os.environ.get("JOBSITE_FAILPOINTS", ""))


class Failpoint(Exception):
    """What the action `raise` raises."""


def failpoint(name: str) -> None:
    """Do what was asked for at this point: `kill` (SIGKILL), `raise`, or `sleep:SECONDS`."""
    if _armed:
        _act(name, _armed.get(name))


def _act(name: str, action: str | None) -> None:
    if action is None or not _is_first(name):
        return
    match action.split(":"):
        case ["kill"]:
            os.kill(os.getpid(), signal.SIGKILL)
        case ["raise"]:
            raise Failpoint(name)
        case ["sleep", seconds]:
            time.sleep(float(seconds))
        case _:
            raise ValueError(f"JOBSITE_FAILPOINTS: {action!r} is neither kill, raise nor sleep:SECONDS")


def _is_first(name: str) -> bool:
    folder = os.environ.get("JOBSITE_FAILPOINTS_TAKEN")
    if folder is None:
        return True
    try:
        (Path(folder) / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
