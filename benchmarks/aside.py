"""A measurement in a process and a database of its own, which is dropped at the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from benchmarks.stack import ROOT, scratch_database


def measured(module: str, *arguments: object) -> dict[str, Any]:
    """What `python -m benchmarks.MODULE ARGUMENTS` printed last, as JSON. Raises `RuntimeError` with its errors."""
    with scratch_database() as url:
        env = os.environ | {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "jobsite.settings", "JOBSITE_REDIS_PREFIX": module}
        for command in (["manage.py", "migrate", "--verbosity", "0"], ["-m", f"benchmarks.{module}", *map(str, arguments)]):
            done = subprocess.run([sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(done.stderr[-3000:])
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer
