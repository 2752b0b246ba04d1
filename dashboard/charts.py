"""Charts as data: built here, drawn by the browser, and written out as tables for who sees none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.utils.translation import gettext as _

from jobs.trends import OUTCOMES, PERCENTILES, Course

Values = Sequence[float | None]
MOST_ROWS = 60


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line or kind of bar; `shown` is what its legend says when nothing is pointed at."""

    key: str
    label: str
    values: Values
    shown: float | None


@dataclass(frozen=True, kw_only=True)
class Chart:
    """`form` is bars (stacked), lines or log (lines on a logarithmic scale); `unit` is s, % or nothing."""

    name: str
    title: str
    form: str
    lines: list[Line]
    unit: str = ""
    times: list[int] = field(default_factory=list)

    @property
    def table(self) -> list[tuple[datetime, list[float | None]]]:
        """Newest first, and only the times at which something is known."""
        columns = [line.values for line in self.lines]
        rows = [(time, [column[place] for column in columns]) for place, time in enumerate(self.times)]
        known = [(datetime.fromtimestamp(time, UTC), values) for time, values in reversed(rows) if any(values)]
        return known[:MOST_ROWS]


def charts_of(course: Course) -> list[Chart]:
    """The charts of a time, in the order of the page; without those of which nothing is known. Run times are of completed jobs."""
    outcomes = {
        "completed": _("completed"),
        "failed": _("failed"),
        "cancelled": _("cancelled"),
        "retried": _("tried again"),
    }
    queue = {"ready": _("ready"), "held": _("held back"), "running": _("running")}
    use = {"slots": _("slots"), "memory": _("memory"), "cpu": _("CPU weight")}
    counts = [Line(key=k, label=outcomes[k], values=course.counts[k], shown=sum(course.counts[k])) for k in OUTCOMES]
    times = course.times
    charts = [
        Chart(name="outcomes", title=_("Ended, by outcome"), form="bars", lines=counts, times=times),
        Chart(name="queue", title=_("Queue"), form="lines", lines=_lines(queue, course.queue), times=times),
        Chart(name="wait", title=_("Wait until start"), form="log", unit="s", lines=_bands(course.wait), times=times),
        Chart(name="run", title=_("Run time"), form="log", unit="s", lines=_bands(course.run), times=times),
        Chart(name="use", title=_("In use"), form="lines", unit="%", lines=_lines(use, course.shares), times=times),
    ]
    return [chart for chart in charts if chart.lines]


def _bands(found: dict[int, list[float | None]]) -> list[Line]:
    return [Line(key=f"p{p}", label=f"p{p}", values=found[p], shown=_last(found[p])) for p in PERCENTILES]


def _lines(names: dict[str, str], found: dict[str, list[float | None]]) -> list[Line]:
    return [Line(key=key, label=label, values=found[key], shown=_last(found[key])) for key, label in names.items() if key in found]


def _last(values: Values) -> float | None:
    return next((value for value in reversed(values) if value is not None), None)


def as_data(charts: Sequence[Chart]) -> dict[str, Any]:
    """For the browser: rounded, because nobody sees a millionth of a pixel."""
    return {
        chart.name: {
            "form": chart.form,
            "unit": chart.unit,
            "times": chart.times,
            "lines": [
                {
                    "key": line.key,
                    "label": line.label,
                    "shown": _rounded(line.shown),
                    "values": [_rounded(value) for value in line.values],
                }
                for line in chart.lines
            ],
        }
        for chart in charts
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


@dataclass(frozen=True, kw_only=True)
class Spark:
    """A little line without axes, as SVG paths in a box of 100 by 30; drawn also where there is no JavaScript."""

    line: str
    area: str


def spark(values: Values, *, points: int = 30) -> Spark | None:
    """Of the last `points` values; None when there is nothing to draw."""
    shown = [value or 0.0 for value in values[-points:]]
    most = max(shown, default=0.0)
    if len(shown) < 2 or not most:
        return None
    step = 100 / (len(shown) - 1)
    line = " ".join(f"{'L' if place else 'M'}{place * step:.1f} {29 - 27 * value / most:.1f}" for place, value in enumerate(shown))
    return Spark(line=line, area=f"{line} L100 30 L0 30 Z")
