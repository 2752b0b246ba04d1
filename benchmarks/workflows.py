"""Every recorded workflow replayed on five slots: as fast as any greedy schedule must be, in order, within the memory."""

from __future__ import annotations

import heapq
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.progress import track

from benchmarks.form import Goal, Report
from benchmarks.stack import ROOT, Stack
from jobs.builtin.wfformat import Task, bounds, read

FOLDER = ROOT.parent / "shared" / "data" / "workflows"
SLOTS = 5
# Each graph is scaled so that its lower bound is this long; seconds.
LONG, SHORT = 60.0, 1.0
# What a start may cost beyond Graham's bound, for each task of the longest chain; seconds.
A_TASK = 0.025
MEMORY_MB = 4096
HEAVY = ("blast-chameleon-medium-001", "rnaseq-dirt02-001")


def measure(*, short: bool) -> Report:
    """LB2 <= makespan <= Graham's bound + 25 ms a task of the longest chain; order and memory as the tools themselves saw them."""
    graphs = sorted(FOLDER.glob("*.json*"))
    if not graphs:
        return Report(name="workflows", figures={"skipped": True}, notes=["skipped: the recorded workflows are not here"])
    report = Report(name="workflows")
    target = SHORT if short else LONG
    for graph in track(graphs[:1] if short else graphs, description="graphs"):
        _judge(report, graph, _replayed(graph, target), memory=False)
    heavy = [graph for graph in graphs if graph.name.split(".")[0] in HEAVY]
    for graph in track(heavy[:1] if short else heavy, description="with memory"):
        _judge(report, graph, _replayed(graph, target, "--memory", JOB_MANAGER_MAX_MEMORY_MB=str(MEMORY_MB)), memory=True)
    report.notes.append("slack: seconds left to the upper bound; overlaps and memory are from the tools' own log")
    return report


def _replayed(graph: Path, target: float, *options: str, **env: str) -> dict[str, Any]:
    tasks = read(graph)
    limits = bounds(tasks, SLOTS)
    scale = target / limits.lb2
    with Stack(worker_processes=SLOTS, slots=SLOTS, **env) as stack:
        log = stack.logs / "tasks.jsonl"
        figures: dict[str, Any] = json.loads(
            stack.manage("replay", str(graph), "--scale", str(scale), "--log", str(log), "--json", *options)
        )
        lines = [json.loads(line) for line in log.read_text().splitlines()]
    # The command names its jobs by their place among the tasks.
    by_task = {tasks[int(line["job"].rsplit(".", 1)[1]) - 1].id: line for line in lines}
    upper = figures["graham_s"] + A_TASK * longest_chain(tasks)
    return figures | {
        "slack_s": upper - figures["makespan_s"],
        "early": sum(early(task, by_task) for task in tasks),
        "not_logged": len(tasks) - len(by_task),
        "most_at_once": peak([(line["start"], line["end"], 1) for line in lines]),
        "most_memory_mb": peak([(line["start"], line["end"], line["memory_mb"]) for line in lines]),
    }


def _judge(report: Report, graph: Path, seen: Mapping[str, Any], *, memory: bool) -> None:
    name = graph.name.split(".")[0] + ("+memory" if memory else "")
    wanted: dict[str, dict[str, float]] = {"ratio": {"at_least": 1.0}}
    if memory:
        # Graham's bound knows slots only; what memory keeps apart is no fault of the order.
        wanted |= {"most_memory_mb": {"at_most": MEMORY_MB}}
    else:
        wanted |= {"slack_s": {"at_least": 0.0}}
    wanted |= {name: {"at_most": 0} for name in ("early", "not_logged", "failed")} | {"most_at_once": {"at_most": SLOTS}}
    report.figures[f"{name} makespan_s"] = seen["makespan_s"]
    for figure, bound in wanted.items():
        report.figures[f"{name} {figure}"] = seen[figure]
        report.goals.append(Goal(figure=f"{name} {figure}", **bound))


def longest_chain(tasks: Sequence[Task]) -> int:
    """How many tasks the longest path has; `tasks` in topological order."""
    depth: dict[str, int] = {}
    for task in tasks:
        depth[task.id] = 1 + max((depth[parent] for parent in task.parents), default=0)
    return max(depth.values(), default=0)


def early(task: Task, lines: Mapping[str, Mapping[str, Any]]) -> bool:
    """Did the task begin before one that it depends on had ended, by the clock of the machine that ran both?"""
    own = lines.get(task.id)
    return own is not None and any(parent not in lines or lines[parent]["end"] > own["start"] for parent in task.parents)


def peak(spans: Sequence[tuple[float, float, float]]) -> float:
    """The greatest sum of weights at any instant; spans are (start, end, weight)."""
    ends: list[tuple[float, float]] = []
    now = most = 0.0
    for start, end, weight in sorted(spans):
        while ends and ends[0][0] <= start:
            now -= heapq.heappop(ends)[1]
        heapq.heappush(ends, (end, weight))
        now += weight
        most = max(most, now)
    return most
