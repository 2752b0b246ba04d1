"""What a running tool holds in its hand as `job`, and what the pulse takes from it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from jobs import checkpoints, dependencies
from jobs.checkpoints import Checkpoints
from jobs.errors import Stopped
from jobs.events import Delta
from jobs.lifecycle import Beat, Running
from jobs.memory import Guard
from jobs.payloads import Json, clean_text, storable
from jobs.questions import InputNeeded, Question
from jobs.resources import Meter
from jobs.tools import ParentResult
from jobs.workdirs import Workdir

MAX_LINE = 2000
MAX_WAITING_LINES = 1000
MAX_METADATA = 64 * 1024


class RunContext:
    """The JobContext of one attempt. The tool's thread writes plain attributes; the pulse's thread reads them."""

    def __init__(self, running: Running, wake: threading.Event) -> None:
        self.running = running
        self.meter = Meter()
        self.guard = Guard(running.job.memory_mb) if running.job.memory_mb else None
        self.checkpoints = Checkpoints(running)
        self.folder = Workdir(running.attempt_id, running.job.disk_mb)
        self.began = time.monotonic()
        self.deadline = min(self.began + running.job.timeout_ms / 1000, running.of_use_until)
        self.told_to_stop: Stopped | None = None
        self.in_tool = False
        self.tick = 0
        self.dirty = False
        self._wake = wake
        self._percent = 0.0
        self._message = ""
        self._stage = ""
        self._sub: float | None = None
        self._lines: list[str] = []
        self._seen = 0
        self._line_lock = threading.Lock()
        self._metadata: dict[str, Json] = {}

    # --- for the tool ------------------------------------------------------------------------------------------------
    @property
    def id(self) -> str:
        return self.running.job.id

    @property
    def fence(self) -> int:
        return self.running.attempt_id

    @property
    def parents(self) -> list[ParentResult]:
        return dependencies.parents_of(self.id)

    def progress(
        self, percent: float, message: str | None = None, *, stage: str | None = None, sub_progress: float | None = None
    ) -> None:
        # About half a microsecond: it only notes the latest value; cleaning and sending happen ten times a second.
        if self.told_to_stop is not None:
            raise self.told_to_stop
        self._percent = percent
        self._sub = sub_progress
        if message is not None:
            self._message = message
        if stage is not None:
            self._stage = stage
        self.tick += 1
        if not self.dirty:
            self.dirty = True
            self._wake.set()

    def update(
        self,
        percent: float | None = None,
        message: str | None = None,
        stage: str | None = None,
        sub_progress: float | None = None,
        diagnostics: Iterable[str] = (),
        metadata: Mapping[str, Json] | None = None,
    ) -> bool:
        """As `progress`, from any thread of the process: what is None stays. False: the job was told to stop."""
        if self.told_to_stop is not None:
            return False
        for line in diagnostics:
            self.diagnostic(line)
        if metadata:
            self.metadata(**metadata)
        now = self._percent if percent is None else percent
        self.progress(now, message, stage=stage, sub_progress=self._sub if sub_progress is None else sub_progress)
        return True

    def diagnostic(self, text: str) -> None:
        with self._line_lock:
            self._lines.append(clean_text(str(text), MAX_LINE))
            if len(self._lines) > MAX_WAITING_LINES:
                del self._lines[0]
                self._seen = max(0, self._seen - 1)
        self.dirty = True
        self._wake.set()

    def metadata(self, **values: Json) -> None:
        merged, _ = storable(self._metadata | values, max_bytes=MAX_METADATA)
        self._metadata = merged

    def checkpoint(self, data: Json) -> None:
        self.check()
        if self.checkpoints.put(data):
            self._wake.set()

    @property
    def checkpoint_data(self) -> Json:
        return checkpoints.of(self.id)

    @property
    def workdir(self) -> Path:
        path = self.folder.path()
        if self.folder.allowed_mb:
            self._wake.set()  # it is looked at from now on
        return path

    def check(self) -> None:
        if self.told_to_stop is not None:
            raise self.told_to_stop

    def ask(self, **questions: Question) -> dict[str, Any]:
        said = dependencies.answers_of(self.id)
        if missing := {key: question for key, question in questions.items() if key not in said}:
            raise InputNeeded(missing)
        return {key: said[key].for_tool(question) for key, question in questions.items()}

    # --- for the pulse and the execution -----------------------------------------------------------------------------
    def tell_to_stop(self, stop: Stopped) -> None:
        """From now on `progress()` and `check()` raise `stop`; the first wins."""
        if self.told_to_stop is None:
            self.told_to_stop = stop

    def unseen_lines(self) -> list[str]:
        """Lines that no progress report has carried yet; they stay until a beat or the end stores them."""
        with self._line_lock:
            unseen = self._lines[self._seen :]
            self._seen = len(self._lines)
        return unseen

    def take_lines(self) -> list[str]:
        """All lines that are not stored yet."""
        with self._line_lock:
            lines, self._lines = self._lines, []
            self._seen = 0
        return lines

    def put_back(self, lines: list[str]) -> None:
        """They could not be stored after all."""
        with self._line_lock:
            self._lines = lines + self._lines
            self._seen += len(lines)

    def news(self, lines: list[str]) -> Beat:
        """The latest values, storable."""
        return Beat(
            progress=percent(self._percent),
            message=clean_text(str(self._message), MAX_LINE),
            stage=clean_text(str(self._stage), 200),
            sub_progress=None if self._sub is None else percent(self._sub),
            tick=self.tick,
            diagnostics=lines,
            metadata=self._metadata,
            peak_memory_mb=self.meter.peak_memory_mb,
            cpu_percent=self.meter.cpu_percent,
            samples=self.meter.series,
        )

    def delta(self, lines: list[str]) -> bytes:
        """A progress report for the live pages."""
        news = self.news(lines)
        delta = Delta(
            id=self.id,
            v=(self.running.job.version, self.tick),
            progress=news.progress,
            message=news.message,
            stage=news.stage,
            sub=news.sub_progress,
            diagnostics=lines,
        )
        return orjson.dumps([delta])


# What runs in this very process, by the id of its job.
_here: dict[str, RunContext] = {}


def here(job_id: str) -> RunContext | None:
    """The context of a job that this process runs now."""
    return _here.get(job_id)


@contextmanager
def known(context: RunContext) -> Iterator[None]:
    """While inside, `here` finds it."""
    _here[context.id] = context
    try:
        yield
    finally:
        _here.pop(context.id, None)


def percent(value: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return 0.0
    return min(100.0, max(0.0, number)) if math.isfinite(number) else 0.0
