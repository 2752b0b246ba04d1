"""How long one round of the dispatcher takes, however many jobs wait."""

from __future__ import annotations

from benchmarks.aside import measured
from benchmarks.form import Goal, Report


def measure(*, short: bool) -> Report:
    """100,000 and 1,000,000 pending of mixed priority and need, a fifth of them paused: among the others, and all in front."""
    sizes = {"1k": (1000, 20)} if short else {"100k": (100_000, 200), "1m": (1_000_000, 100)}
    report = Report(name="admission")
    for name, (pending, number) in sizes.items():
        seen = measured("admission_rounds", pending, number)
        for how in ("mixed", "worst", "reranked"):
            report.figures |= {f"{how}_{name}_{figure}": value for figure, value in seen[how].items()}
        report.goals.append(Goal(figure=f"mixed_{name}_p99_ms", at_most=200 if name == "1m" else 100))
        report.figures[f"critical_is_next_{name}"] = int(seen["critical"])
        report.goals.append(Goal(figure=f"critical_is_next_{name}", at_least=1))
    report.notes.append("reranked: the weights of priorities change; meanwhile rounds go on")
    report.notes.append("mixed: the paused fifth lies among the others; worst: it is first in line")
    return report
