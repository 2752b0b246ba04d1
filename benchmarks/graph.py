"""A workflow of a thousand jobs in a real Chromium: what its graph costs while it changes, and whether it moves smoothly."""

from __future__ import annotations

import itertools
import os
import time
from typing import TYPE_CHECKING, Any

import orjson
import redis

from benchmarks.browser import CHROMIUM, add_person, chromium, sign_in
from benchmarks.form import Goal, Report
from benchmarks.replay import GRAPH
from benchmarks.stack import Stack, stopped

if TYPE_CHECKING:
    from playwright.sync_api import CDPSession, Page

A_SECOND = 50
WORKFLOW = GRAPH.with_name("epigenomics-chameleon-hep-6seq-50k-001.json.gz")
# The recorded workflow as jobs that nobody runs; else a made one of as many jobs.
SUBMIT = """
from pathlib import Path
from jobs import lifecycle
from jobs.builtin.wfformat import read
from jobs.lifecycle import Submission
file = Path({file!r})
if file.exists():
    tasks = read(file)
    number = {{task.id: f"n{{at}}" for at, task in enumerate(tasks)}}
    pairs = [(number[task.id], sorted(number[parent] for parent in task.parents)) for task in tasks]
else:
    pairs = [(f"n{{at}}", [f"n{{at - 100}}"] if at >= 100 else []) for at in range(1000)]
wanted = [Submission(tool="bench.noop", id=name, batch="graph", depends_on=above) for name, above in pairs]
lifecycle.submit_many(wanted, by="bench")
print(len(wanted))
"""
# Milliseconds between two pictures, while the mouse drags and the wheel turns.
FRAMES = """() => {
    window.frames_seen = [];
    let last = performance.now();
    const note = (now) => { window.frames_seen.push(now - last); last = now; requestAnimationFrame(note); };
    requestAnimationFrame(note);
}"""


def measure(*, short: bool) -> Report:
    """50 changes of jobs a second, by the road that the lifecycle's own messages take; then dragged and zoomed beside them."""
    if CHROMIUM is None:
        return Report(name="graph", figures={"skipped": True}, notes=["skipped: there is no chromium here"])
    seconds = 2 if short else 20
    with Stack(web=True, worker_processes=0, JOBSITE_TOOLS="benchmarks.tools") as stack, chromium() as browser:
        add_person(stack)
        stopped(stack.processes.pop("dispatcher"))
        jobs = int(stack.manage("shell", "-v", "0", "-c", SUBMIT.format(file=str(WORKFLOW))))
        page = browser.new_context(base_url=stack.address, viewport={"width": 1440, "height": 900}).new_page()
        sign_in(page)
        began = time.monotonic()
        page.goto("/workflows/batch/?name=graph")
        page.wait_for_selector(f".graph [data-id=n{jobs - 1}]")
        drawn = time.monotonic() - began
        page.wait_for_selector(".live[data-live=on]")
        changes = _changes(jobs)
        busy, seen = _told(stack, page, changes, seconds)
        frames = _moved(stack, page, changes, seconds / 2)
    figures: dict[str, Any] = {"jobs": jobs, "drawn_s": drawn, "changes_a_second": A_SECOND, "page_core_share": busy}
    figures |= {"changed_nodes": seen, "frame_p50_ms": frames[len(frames) // 2], "frame_p95_ms": frames[len(frames) * 95 // 100]}
    goals = [Goal(figure="page_core_share", at_most=0.30), Goal(figure="frame_p95_ms", at_most=50)]
    return Report(name="graph", figures=figures, goals=goals, notes=["share of one core that the page's main thread was busy"])


def _changes(jobs: int) -> Any:
    """Each job runs, then completes, then runs again, always with a newer version."""
    for turn in itertools.count(2):
        for at in range(jobs):
            yield {
                "id": f"n{at}", "v": [turn, 0], "status": ("running", "completed")[turn % 2], "progress": 50.0, "message": "",
                "stage": "", "tool": "bench.noop", "batch": "graph", "project": "", "attempts": 1, "created": 1, "started": 1,
            }  # fmt: skip


def _tell(stack: Stack, changes: Any, seconds: float) -> None:
    link, until = redis.Redis.from_url(os.environ["REDIS_URL"]), time.monotonic() + seconds
    while time.monotonic() < until:
        link.publish(f"{stack.name}:live", orjson.dumps([next(changes)]))
        time.sleep(1 / A_SECOND)


def _told(stack: Stack, page: Page, changes: Any, seconds: float) -> tuple[float, int]:
    """The share of a core that the page was busy, and how many nodes are no longer pending."""
    cdp = page.context.new_cdp_session(page)
    cdp.send("Performance.enable")
    before, began = _busy(cdp), time.monotonic()
    _tell(stack, changes, seconds)
    share = (_busy(cdp) - before) / (time.monotonic() - began)
    return share, page.locator(".graph .node:not(.s-pending)").count()


def _busy(cdp: CDPSession) -> float:
    metrics = cdp.send("Performance.getMetrics")["metrics"]
    return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))


def _moved(stack: Stack, page: Page, changes: Any, seconds: float) -> list[float]:
    """Sorted times between pictures while somebody drags and zooms."""
    place = page.locator("[data-graph]").bounding_box()
    assert place is not None
    x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    page.locator("[data-graph]").focus()
    page.mouse.move(x, y)
    page.evaluate(FRAMES)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        _tell(stack, changes, 0.04)
        page.mouse.wheel(0, -120)
        page.mouse.down()
        page.mouse.move(x + 60, y + 20, steps=6)
        page.mouse.up()
        page.mouse.move(x, y)
        page.mouse.wheel(0, 120)
    return sorted(page.evaluate("window.frames_seen.slice(5)"))
