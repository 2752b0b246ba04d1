"""From `job.progress()` in a worker to the changed page in a real browser."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.browser import CHROMIUM, add_person, chromium, sign_in
from benchmarks.form import Goal, Report, quantiles
from benchmarks.stack import Stack, wait_until

# Notes for each text that the page shows in place of a job's message when it was told (the text itself) and when it was shown.
WATCH = """() => {
    window.seen = [];
    new MutationObserver((changes) => {
        const now = performance.timeOrigin + performance.now();
        for (const change of changes) {
            const node = change.target.nodeType === Node.TEXT_NODE ? change.target.parentElement : change.target;
            if (node?.closest("[data-message]")) window.seen.push([Number(node.textContent), now]);
        }
    }).observe(document.body, {subtree: true, childList: true, characterData: true});
}"""


def measure(*, short: bool) -> Report:
    """One job, and 20 jobs at once, at 10 reports a second each; every job reports the time of day as its message."""
    if CHROMIUM is None:
        return Report(name="live", figures={"skipped": True}, notes=["skipped: there is no chromium here"])
    ticks = 30 if short else 200
    with Stack(web=True, worker_processes=1, slots=1, JOBSITE_TOOLS="benchmarks.tools") as stack:
        one = seen_in_browser(stack, jobs=1, ticks=ticks)
    with Stack(web=True, worker_processes=20, slots=20, JOBSITE_TOOLS="benchmarks.tools") as stack:
        many = seen_in_browser(stack, jobs=20, ticks=ticks)
        paint = first_paint(stack)
    figures: dict[str, Any] = {"one_told": ticks, "one_seen": len(one), **quantiles("one", one)}
    figures |= {"twenty_told": 20 * ticks, "twenty_seen": len(many), **quantiles("twenty", many), "paint_ms": paint}
    goals = [
        Goal(figure="one_p95_ms", at_most=250),
        Goal(figure="twenty_p50_ms", at_most=60),
        Goal(figure="twenty_p95_ms", at_most=150),
        Goal(figure="paint_ms", at_most=1000),
    ]
    notes = ["milliseconds from progress() to the changed text; what is told faster than frames are sent is seen merged"]
    return Report(name="live", figures=figures, goals=goals, notes=notes)


def first_paint(stack: Stack) -> float:
    """Milliseconds until something of the overview is seen, in a browser that has its files already; the median of five."""
    with chromium() as browser:
        page = browser.new_context(base_url=stack.address).new_page()
        sign_in(page, "/")
        seen = []
        for _ in range(5):
            page.goto("/")
            page.wait_for_function("() => performance.getEntriesByName('first-contentful-paint').length")
            seen.append(page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime"))
    return float(sorted(seen)[2])


def seen_in_browser(stack: Stack, *, jobs: int, ticks: int) -> list[float]:
    """The delays, in ms, of all changes that a page showed; a job's own page for one job, else the list."""
    add_person(stack)
    submit = (
        "from jobs import lifecycle; from jobs.lifecycle import Submission;"
        f"made = lifecycle.submit_many([Submission(tool='bench.ticker', params=dict(ticks={ticks}, pause=0.1))"
        f" for _ in range({jobs})], by='bench'); print(made[0].id)"
    )
    with chromium() as browser:
        page = browser.new_context(base_url=stack.address).new_page()
        sign_in(page)
        first = stack.manage("shell", "-v", "0", "-c", submit).split()[-1]
        if jobs == 1:
            page.goto(f"/jobs/{first}/")
            page.wait_for_selector(".live[data-live=on]")
        page.evaluate(WATCH)
        done = "SELECT count(*) = 0 FROM jobs_job WHERE finished_at IS NULL"
        wait_until("the jobs are done", lambda: stack.one(done), seconds=60 + ticks * 0.2, pause=0.5)
        time.sleep(1)  # what is still on its way belongs to the measure
        seen: list[tuple[float | None, float]] = page.evaluate("() => window.seen")
    # The first report of a job is its first line, drawn by the server; other texts are no times.
    told = [(at, shown) for at, shown in seen if at and at > 1e12]
    return [shown - at for at, shown in told]
