"""The example workers, run as they stand."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from benchmarks.stack import ROOT, Stack, wait_until

pytestmark = pytest.mark.timeout(240)
TEXT = {"params": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}}
NODE = shutil.which("node") or shutil.which("node", path=str(ROOT / ".venv" / "bin"))


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(web=True, worker_processes=0, slots=4) as started:
        yield started


@pytest.fixture(scope="module")
def api(stack: Stack) -> Iterator[httpx.Client]:
    secret = stack.manage("token", "create", "--name", "boss", "--scope", "admin").split()[-1]
    with httpx.Client(base_url=f"{stack.address}/api/v1", headers={"Authorization": f"Bearer {secret}"}, timeout=60) as client:
        for tool in ("text.count", "text.upper"):
            assert client.put(f"/tools/{tool}", json=TEXT).status_code == 200
        yield client


def results(stack: Stack, api: httpx.Client, tool: str, command: list[str], texts: list[str]) -> list[Any]:
    """What the worker makes of these texts; it is stopped by SIGTERM in the end."""
    secret = stack.manage("token", "create", "--name", f"worker of {tool}", "--scope", "jobs:report").split()[-1]
    env = os.environ | {"JOBSITE_URL": stack.address, "JOBSITE_TOKEN": secret}
    worker = subprocess.Popen(command, cwd=ROOT, env=env)
    try:
        ids = [api.post("/jobs", json={"toolName": tool, "params": {"text": text}}).json()["jobId"] for text in texts]
        wait_until("all have ended", lambda: all(ended(api, job) for job in ids), seconds=90, pause=0.5)
    finally:
        worker.terminate()
        worker.wait(20)
    return [api.get(f"/jobs/{job}/result").json() for job in ids]


def ended(api: httpx.Client, job_id: str) -> bool:
    return api.get(f"/jobs/{job_id}").json()["status"] in {"completed", "failed"}


@pytest.mark.skipif(NODE is None, reason="there is no node here")
def test_a_worker_in_node_runs_jobs_side_by_side(stack: Stack, api: httpx.Client) -> None:
    assert NODE is not None
    found = results(stack, api, "text.count", [NODE, "examples/worker.mjs"], ["a b a", "", "c"])
    assert [result["structuredContent"]["words"] for result in found] == [3, 0, 1]
    assert found[0]["structuredContent"]["seen"] == {"a": 2, "b": 1}


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_a_worker_in_shell_runs_jobs_one_by_one(stack: Stack, api: httpx.Client) -> None:
    found = results(stack, api, "text.upper", ["sh", "examples/worker.sh"], ["hello", "two words", 'with "quotes"'])
    assert [result.get("structuredContent") for result in found] == [{"text": "HELLO"}, {"text": "TWO WORDS"}, None]
    assert found[2]["isError"] is True
    assert api.get("/workers").json()["workers"][-1]["tools"]


def test_a_claim_that_waits_is_given_work_as_soon_as_there_is_some(api: httpx.Client) -> None:
    assert api.put("/tools/text.rare", json=TEXT).status_code == 200
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(api.post, "/claims?wait=25", json={"tools": ["text.rare"], "worker": "patient"})
        wait_until("it is known that somebody asks", lambda: "patient" in api.get("/workers").text)
        assert not held.done()
        began = time.monotonic()
        job = api.post("/jobs", json={"toolName": "text.rare", "params": {"text": "a"}}).json()["jobId"]
        (run,) = held.result(20).json()["jobs"]
    assert run["jobId"] == job
    assert time.monotonic() - began < 5
