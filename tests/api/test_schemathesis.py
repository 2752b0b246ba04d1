"""The API tried against its own description by schemathesis: every check it knows, every phase, with a bounded time."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from benchmarks.stack import ROOT, Stack

pytestmark = pytest.mark.early

SECONDS = 75


@pytest.mark.timeout(400)
def test_schemathesis_finds_no_fault_and_the_log_has_no_500() -> None:
    # Behind the WSGI server, where streams end at once and nothing is held: otherwise each example would take its ten minutes.
    # It asks without a token far more often than anybody may from one address: that answer is tested elsewhere.
    with Stack(api=True, worker_processes=1, slots=2, JOBSITE_TOOLS="benchmarks.tools", JOBSITE_STRANGER_RATE="1000000") as stack:
        secret = stack.manage("token", "create", "--name", "fuzz", "--scope", "admin").split()[-1]
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{stack.api_address}/api/v1/openapi.json"),
            *("--header", f"Authorization: Bearer {secret}", "--checks", "all", "--mode", "all", "--max-time", str(SECONDS)),
            *("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "25", "--request-timeout", "30"),
            *("--no-shrink", "--no-color", "--seed", "7", "--warnings", "off", "--generation-database", "none"),
        ]
        done = subprocess.run(command, cwd=ROOT, env=stack.env, capture_output=True, text=True, timeout=300)
        log = stack.log("api")
    said = re.sub(r"(.{2000}).{2000,}", r"\1…", done.stdout)
    assert done.returncode == 0, said[-30_000:] + done.stderr[-2000:]
    tested = re.search(r"Operations:.*?(\d+)", done.stdout, re.S)
    assert tested, done.stdout[-3000:]
    assert "Traceback" not in log, log[-5000:]
    assert "failed" not in log, log[-5000:]
