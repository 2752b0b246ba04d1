"""Tool `workflow.replay`: takes the time, and where asked the memory and CPU, that a task of a recorded workflow took."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

from django.conf import settings
from pydantic import BaseModel, ConfigDict, Field, field_validator

from jobs.tools import JobContext, tool

# Longer waits are cut into slices, to report progress and to hear a cancel.
SLICE = 0.2
PAGE = 4096


class ReplayParams(BaseModel):
    """`seconds` counts from the start of the job; memory and CPU are used only if asked for. `log` gets a JSON line."""

    model_config = ConfigDict(extra="forbid")

    task: str = Field(max_length=300)
    seconds: float = Field(ge=0, le=30 * 24 * 3600)
    memory_mb: int = Field(default=0, ge=0)
    cpu_percent: float = Field(default=0, ge=0, le=100)
    log: str | None = Field(default=None, max_length=1000)

    @field_validator("log")
    @classmethod
    def below_our_folders(cls, path: str | None) -> str | None:
        places = (settings.VAR, Path(tempfile.gettempdir()).resolve())
        if path is not None and not any(Path(path).resolve().is_relative_to(place) for place in places):
            raise ValueError(f"the log must lie below {places[0]} or {places[1]}")
        return path


@tool("workflow.replay", operation="execution", params=ReplayParams)
def replay(params: ReplayParams, job: JobContext) -> dict[str, float]:
    """Take as long as a recorded task took."""
    began, clock = time.monotonic(), time.time()
    held = bytearray(params.memory_mb * 1024 * 1024)
    held[::PAGE] = b"\x01" * len(held[::PAGE])  # untouched memory is not used memory
    until = began + params.seconds
    while (left := until - time.monotonic()) > 0:
        if left < params.seconds:
            job.progress(100 * (1 - left / params.seconds), params.task, stage="replay")
        _spend(min(left, SLICE), params.cpu_percent / 100)
    took = time.monotonic() - began
    if params.log is not None:
        _append(
            params.log, {"job": job.id, "task": params.task, "start": clock, "end": clock + took, "memory_mb": params.memory_mb}
        )
    return {"took": took}


def _spend(seconds: float, busy: float) -> None:
    until = time.monotonic() + seconds * busy
    while time.monotonic() < until:
        pass
    time.sleep(seconds * (1 - busy))


def _append(path: str, line: dict[str, object]) -> None:
    """One write to a file opened for appending, so that lines of many processes do not mix."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, json.dumps(line).encode() + b"\n")
    finally:
        os.close(descriptor)
