"""What the server draws: shapes as numbers for an SVG, since the content security policy forbids inline styles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from jobs.models import Attempt, Job
from jobs.timeline import Stretch
from jobs.workflow import Run

WIDTH = 1000.0
LEAST = 6.0  # what took no time to speak of is still seen
NODE_WIDTH, NODE_HEIGHT, GAP = 220.0, 34.0, 10.0
MOST_NEIGHBOURS = 8


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a bar: from `x`, `width` wide, of a thousand."""

    x: float
    width: float
    state: str
    seconds: float
    open: bool


def state_path(path: Sequence[Stretch], now: datetime) -> list[Piece]:
    """The stretches side by side; short ones are drawn wider than they were."""
    seconds = [stretch.seconds(now) for stretch in path]
    total = sum(seconds) or 1.0
    room = max(0.0, WIDTH - LEAST * len(path))
    pieces, x = [], 0.0
    for stretch, spent in zip(path, seconds, strict=True):
        width = LEAST + room * spent / total
        pieces.append(Piece(x=round(x, 1), width=round(width, 1), state=stretch.state, seconds=spent, open=stretch.until is None))
        x += width
    return pieces


@dataclass(frozen=True, kw_only=True)
class Bar:
    """An attempt on the time line of its job."""

    attempt: Attempt
    x: float
    width: float


def attempt_bars(job: Job, attempts: Sequence[Attempt], now: datetime) -> list[Bar]:
    begin, end = job.created_at, job.finished_at or now
    span = max(0.001, (end - begin).total_seconds())
    bars = []
    for attempt in attempts:
        x = WIDTH * (attempt.admitted_at - begin).total_seconds() / span
        width = WIDTH * ((attempt.finished_at or now) - attempt.admitted_at).total_seconds() / span
        x = min(max(0.0, x), WIDTH - LEAST)
        bars.append(Bar(attempt=attempt, x=round(x, 1), width=round(min(max(LEAST, width), WIDTH - x), 1)))
    return bars


@dataclass(frozen=True, kw_only=True)
class Line:
    """A measured series: points of an SVG polyline in a box of 600 x 120, its greatest value, and what was asked for."""

    points: str
    top: float
    asked: float
    asked_y: float
    last: float
    seconds: float


BOX_WIDTH, BOX_HEIGHT = 600.0, 120.0


def measured(samples: Sequence[Sequence[float]], column: int, asked: float) -> Line | None:
    """None before there are two points. A sample is [seconds since the start, MB, percent of a core]."""
    if len(samples) < 2:
        return None
    last = samples[-1][0] or 1.0
    top = max(max(sample[column] for sample in samples), asked, 1.0) * 1.1
    points = " ".join(f"{BOX_WIDTH * sample[0] / last:.1f},{BOX_HEIGHT * (1 - sample[column] / top):.1f}" for sample in samples)
    y = BOX_HEIGHT * (1 - asked / top)
    return Line(points=points, top=top, asked=asked, asked_y=round(y, 1), last=samples[-1][column], seconds=last)


@dataclass(frozen=True, kw_only=True)
class Node:
    job: Job
    x: float
    y: float

    @property
    def middle(self) -> float:
        return self.y + NODE_HEIGHT / 2


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A job between those it needs and those that need it; `more` are how many are not drawn on each side."""

    nodes: list[Node]
    edges: list[str]
    height: float
    more: tuple[int, int]


def neighbours(job: Job, parents: Sequence[Job], children: Sequence[Job]) -> Graph | None:
    if not parents and not children:
        return None
    left, right = parents[:MOST_NEIGHBOURS], children[:MOST_NEIGHBOURS]
    rows = max(len(left), len(right), 1)
    height = rows * (NODE_HEIGHT + GAP) - GAP
    middle, last = WIDTH / 2 - NODE_WIDTH / 2, WIDTH - NODE_WIDTH
    # A side that is empty takes no room.
    me = Node(job=job, x=middle if left else 0.0, y=(height - NODE_HEIGHT) / 2)
    before = _column(left, 0.0, height)
    after = _column(right, last if left else middle, height)
    edges = [_edge(NODE_WIDTH, node.middle, me.x, me.middle) for node in before]
    edges += [_edge(me.x + NODE_WIDTH, me.middle, node.x, node.middle) for node in after]
    return Graph(
        nodes=[*before, me, *after],
        edges=edges,
        height=height,
        more=(len(parents) - len(left), len(children) - len(right)),
    )


def _column(jobs: Sequence[Job], x: float, height: float) -> list[Node]:
    used = len(jobs) * (NODE_HEIGHT + GAP) - GAP
    return [Node(job=job, x=x, y=(height - used) / 2 + place * (NODE_HEIGHT + GAP)) for place, job in enumerate(jobs)]


def _edge(x1: float, y1: float, x2: float, y2: float) -> str:
    bend = (x2 - x1) / 2
    return f"M{x1:.0f},{y1:.1f} C{x1 + bend:.0f},{y1:.1f} {x2 - bend:.0f},{y2:.1f} {x2:.0f},{y2:.1f}"


LINE_HEIGHT, BAR_HEIGHT = 26.0, 18.0


@dataclass(frozen=True, kw_only=True)
class GanttBar:
    run: Run
    x: float
    y: float
    width: float


@dataclass(frozen=True, kw_only=True)
class Gantt:
    """Attempts on a line for each worker, side by side where a worker runs several at once."""

    bars: list[GanttBar]
    workers: list[tuple[str, float]]
    height: float
    seconds: float


def gantt(runs: Sequence[Run], now: datetime) -> Gantt | None:
    if not runs:
        return None
    begin = min(run.began for run in runs)
    span = max(0.001, (max(run.ended or now for run in runs) - begin).total_seconds())
    lanes: dict[str, list[datetime]] = {}
    placed: list[tuple[Run, int]] = []
    for run in sorted(runs, key=lambda r: (r.worker, r.began)):
        free = lanes.setdefault(run.worker, [])
        lane = next((n for n, until in enumerate(free) if until <= run.began), len(free))
        free[lane : lane + 1] = [run.ended or now]
        placed.append((run, lane))
    top, tops = 0.0, {}
    for worker in sorted(lanes):
        tops[worker] = top
        top += len(lanes[worker]) * LINE_HEIGHT
    bars = [
        GanttBar(
            run=run,
            x=round(WIDTH * (run.began - begin).total_seconds() / span, 1),
            y=tops[run.worker] + lane * LINE_HEIGHT,
            width=round(max(1.5, WIDTH * ((run.ended or now) - run.began).total_seconds() / span), 1),
        )
        for run, lane in placed
    ]
    return Gantt(bars=bars, workers=list(tops.items()), height=top, seconds=span)
