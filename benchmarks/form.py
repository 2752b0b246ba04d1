"""The one form of every benchmark: a table for people, then one line of JSON for programs."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a figure should be."""

    figure: str
    at_most: float | None = None
    at_least: float | None = None

    def holds(self, figures: dict[str, Any]) -> bool:
        value = figures[self.figure]
        return (self.at_most is None or value <= self.at_most) and (self.at_least is None or value >= self.at_least)

    def __str__(self) -> str:
        return f"<= {self.at_most:g}" if self.at_most is not None else f">= {self.at_least:g}"


@dataclass(kw_only=True)
class Report:
    """What one benchmark measured."""

    name: str
    figures: dict[str, Any] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return all(goal.holds(self.figures) for goal in self.goals)

    def show(self) -> None:
        goals = {goal.figure: goal for goal in self.goals}
        table = Table(title=self.name, title_justify="left")
        for heading, justify in (("figure", "left"), ("seen", "right"), ("goal", "right"), ("", "left")):
            table.add_column(heading, justify=justify)  # type: ignore[arg-type]
        for figure, value in self.figures.items():
            goal = goals.get(figure)
            shown = f"{value:,.3f}" if isinstance(value, float) else str(value)
            table.add_row(figure, shown, str(goal or ""), "" if goal is None else "holds" if goal.holds(self.figures) else "MISSED")
        console = Console()
        console.print(table)
        for note in self.notes:
            console.print(note)
        machine = {"cpus": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}
        said = {goal.figure: str(goal) for goal in self.goals}
        print(json.dumps({"name": self.name, "machine": machine, "figures": self.figures, "goals": said, "holds": self.holds}))


def quantiles(name: str, values: list[float]) -> dict[str, float]:
    """Median, 95th and 99th percentile of milliseconds."""
    ordered = sorted(values)
    return {f"{name}_p{p}_ms": ordered[min(len(ordered) - 1, len(ordered) * p // 100)] for p in (50, 95, 99)}
