"""What the pages cost with a million jobs: server time and queries of each."""

from __future__ import annotations

from benchmarks.aside import measured
from benchmarks.form import Goal, Report


def measure(*, short: bool) -> Report:
    """Fills a database, then asks for each page; percentiles of the time from request to answer, in the process that answers."""
    number, times = (20_000, 3) if short else (1_000_000, 20)
    seen = measured("list_pages", number, times)
    report = Report(name="list", figures={"jobs": number, "fill_s": seen["fill_s"]})
    for page, figures in seen["pages"].items():
        report.figures |= {f"{page}_{name}": value for name, value in figures.items()}
        report.goals.append(Goal(figure=f"{page}_p95_ms", at_most=100))
    report.notes.append("nothing is remembered between two requests, as for the first of many viewers")
    return report
