"""Bars that move: one for a job, or one a job for a whole batch. Without a terminal, a line for each step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from jobsite_client.cli.plain import one_line, plain
from jobsite_client.shapes import COMPLETED, FINAL, PENDING, RUNNING, JobStatus, JobSummary

STYLES = {PENDING: "dim", RUNNING: "blue", COMPLETED: "green", "failed": "red", "cancelled": "yellow"}


class _State(ProgressColumn):
    def render(self, task: Task) -> Text:
        shown = str(task.fields["shown"])
        return Text(shown, style=STYLES.get(shown, ""))


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        _State(),
        BarColumn(bar_width=30, complete_style="blue", finished_style="green"),
        TaskProgressColumn(),
        TextColumn("{task.fields[said]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
        TimeElapsedColumn(),
        console=console,
        expand=True,
    )


class Followed(Protocol):
    """Takes the news of one job, or of many."""

    def status(self, now: JobStatus) -> None: ...
    def summary(self, now: JobSummary) -> None: ...


@contextmanager
def followed(console: Console) -> Iterator[Followed]:
    if not console.is_terminal:
        yield _Lines(console)
        return
    with _progress(console) as progress:
        yield _Bars(progress)


def _said(stage: str | None, message: str | None) -> str:
    return one_line(": ".join(part for part in (stage, message) if part))


class _Bars:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {}
        self._all: TaskID | None = None
        self._final: set[str] = set()

    def status(self, now: JobStatus) -> None:
        self._draw(now.job_id, now.job_id, now.status, now.progress, _said(now.details.current_stage, now.message))

    def summary(self, now: JobSummary) -> None:
        self._draw(now.id, now.id, now.status, now.progress_percentage, _said(None, now.reason or now.progress_message))
        if now.is_final:
            self._final.add(now.id)
        else:
            self._final.discard(now.id)
        self._make_room()

    def _draw(self, key: str, name: str, status: str, percent: float | None, said: str) -> None:
        if key not in self._bars:
            self._bars[key] = self._progress.add_task(plain(name), total=100, shown=status, said=said, start=False)
        bar = self._bars[key]
        if status != PENDING:
            self._progress.start_task(bar)
        self._progress.update(bar, completed=100 if status == COMPLETED else percent or 0, shown=status, said=said)
        if status in FINAL:
            self._progress.stop_task(bar)

    def _make_room(self) -> None:
        """More bars than lines: the finished ones give way, and one bar on top of what is left counts them all."""
        room = max(3, self._progress.console.height - 3)
        if self._all is None and len(self._bars) > 1:
            self._all = self._progress.add_task("all", total=len(self._bars), shown="", said="")
        if self._all is not None:
            done, total = len(self._final), len(self._bars)
            self._progress.update(self._all, total=total, completed=done, said=f"{done} of {total} finished")
        excess = len(self._bars) - room
        by_use = sorted(self._bars, key=lambda job_id: job_id not in self._final)
        for job_id in by_use:
            self._progress.update(self._bars[job_id], visible=excess <= 0)
            excess -= 1


class _Lines:
    """A line when a job changes its state or stage, or gets past another tenth."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._seen: dict[str, tuple[str, str | None, int]] = {}

    def status(self, now: JobStatus) -> None:
        stage = now.details.current_stage
        self._line(now.job_id, now.status, stage, now.progress, _said(stage, now.message))

    def summary(self, now: JobSummary) -> None:
        self._line(now.id, now.status, None, now.progress_percentage, _said(None, now.reason or now.progress_message))

    def _line(self, job_id: str, status: str, stage: str | None, percent: float | None, said: str) -> None:
        step = (status, stage, int((percent or 0) // 10))
        if self._seen.get(job_id) != step:
            self._seen[job_id] = step
            parts: Iterable[str] = (plain(job_id), status, f"{percent or 0:.0f} %" if status == RUNNING else "", said)
            self._console.print(Text(" ".join(part for part in parts if part)), soft_wrap=True)
