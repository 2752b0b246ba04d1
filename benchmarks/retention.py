"""Do admissions wait while a million old jobs are removed?"""

from __future__ import annotations

import os

from benchmarks.aside import measured
from benchmarks.form import Goal, Report


def measure(*, short: bool) -> Report:
    """Rounds that admit eight jobs, before and while a thread removes old ones as the dispatcher does."""
    old = 5000 if short else int(os.environ.get("RETENTION_JOBS", "1000000"))
    report = Report(name="retention", figures=measured("retention_rounds", old))
    report.goals.append(Goal(figure="during_p99_ms", at_most=30))
    report.goals.append(Goal(figure="left", at_most=0))
    return report
