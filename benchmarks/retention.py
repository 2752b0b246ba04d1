"""Do admissions wait while a million old jobs are removed?"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from benchmarks.form import Goal, Report
from benchmarks.stack import ROOT, scratch_database


def measure(*, short: bool) -> Report:
    """Rounds that admit eight jobs, before and while a thread removes old ones as the dispatcher does."""
    old = 5000 if short else int(os.environ.get("RETENTION_JOBS", "1000000"))
    report = Report(name="retention")
    with scratch_database() as url:
        env = os.environ | {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "jobsite.settings", "JOBSITE_REDIS_PREFIX": "retention"}
        for command in (["manage.py", "migrate", "--verbosity", "0"], ["-m", "benchmarks.retention_rounds", str(old)]):
            done = subprocess.run([sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(done.stderr[-3000:])
    report.figures |= json.loads(done.stdout.splitlines()[-1])
    report.goals.append(Goal(figure="during_p99_ms", at_most=200))
    report.goals.append(Goal(figure="left", at_most=0))
    return report
