"""Following jobs: what a poll costs, and a thousand clients that wait."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks.form import Goal, Report
from benchmarks.live import quantiles
from benchmarks.stack import ROOT, Stack
from benchmarks.submit import load, token_headers

JOBS = 20


def measure(*, short: bool) -> Report:
    """A poll beside an endpoint that returns a constant, behind the same door; then waiting clients on one Daphne process."""
    seconds, clients = (2.0, 100) if short else (6.0, 1000)
    figures: dict[str, Any] = {"clients": clients}
    with Stack(web=True, api=True, worker_processes=0, slots=0, JOBSITE_TOOLS="benchmarks.tools") as stack:
        headers = token_headers(stack)
        for name, port in (("wsgi", stack.api_port), ("daphne", stack.port)):
            figures |= {f"{name}_{figure}": value for figure, value in polls(stack, port, headers, seconds).items()}
        figures |= waiting(stack, headers, clients, 3.0 if short else 10.0)
    goals = [
        Goal(figure="wsgi_constant_times_poll", at_most=1.5),
        Goal(figure="wsgi_known_times_poll", at_least=1.0),
        Goal(figure="idle_cpu_percent", at_most=1.0),
        Goal(figure="woken_p95_ms", at_most=200),
    ]
    notes = [f"the clients wait for {JOBS} jobs, which move one after the other; then all wait for one"]
    return Report(name="poll", figures=figures, goals=goals, notes=notes)


def polls(stack: Stack, port: int, headers: dict[str, str], seconds: float) -> dict[str, float]:
    """Answers a second of each, in turns, and how they compare."""
    job, tag = _job(stack, headers)
    seen: dict[str, list[float]] = {"constant": [], "poll": [], "known": []}
    how: dict[str, Any] = {"method": "GET", "seconds": seconds / 3, "connections": 4}
    for _ in range(3):
        constant = load(port, "/api/v1/problems/not-found", headers=headers, expected=200, **how)
        poll = load(port, f"/api/v1/jobs/{job}", headers=headers, expected=200, **how)
        known = load(port, f"/api/v1/jobs/{job}", headers=headers | {"If-None-Match": tag}, expected=304, **how)
        for name, value in (("constant", constant), ("poll", poll), ("known", known)):
            seen[name].append(value["a_second"])
    rates = {name: sorted(values)[1] for name, values in seen.items()}
    return {f"{name}_a_second": value for name, value in rates.items()} | {
        "constant_times_poll": rates["constant"] / rates["poll"],
        "known_times_poll": rates["known"] / rates["poll"],
    }


def _call(stack: Stack, method: str, path: str, headers: dict[str, str], body: object = None) -> tuple[Any, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{stack.api_address}/api/v1{path}", data, headers, method=method)  # noqa: S310  (our own)
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  (our own address)
        return json.loads(answer.read()), answer.headers


def _job(stack: Stack, headers: dict[str, str]) -> tuple[str, str]:
    """A pending job that was looked at once, and its tag."""
    made, _ = _call(stack, "POST", "/jobs", headers, {"toolName": "bench.noop"})
    _, head = _call(stack, "GET", f"/jobs/{made['jobId']}", headers)
    return made["jobId"], head["ETag"]


def waiting(stack: Stack, headers: dict[str, str], clients: int, seconds: float) -> dict[str, Any]:
    jobs = [_job(stack, headers) for _ in range(JOBS)]
    # By turns: the clients of one job do not wait in a row.
    idle, spread = _woken(stack, headers, [jobs[n % JOBS] for n in range(clients)], seconds)
    _, at_once = _woken(stack, headers, [_job(stack, headers)] * clients, 1.0)
    return {"idle_cpu_percent": idle} | quantiles("woken", spread) | quantiles("all_at_once", at_once)


def _woken(stack: Stack, headers: dict[str, str], jobs: list[tuple[str, str]], seconds: float) -> tuple[float, list[float]]:
    """CPU of the web process while all wait, in percent of a core; and for each client the ms from the change to its answer."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.waiting"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    waits = [(f"/api/v1/jobs/{job}?wait=30", tag) for job, tag in jobs]
    process.stdin.write(json.dumps({"port": stack.port, "headers": headers, "waits": waits}) + "\n")
    process.stdin.flush()
    process.stdout.readline()
    time.sleep(1)
    before = cpu_seconds(stack.processes["web"].pid)
    time.sleep(seconds)
    idle = 100 * (cpu_seconds(stack.processes["web"].pid) - before) / seconds
    moved: dict[str, float] = {}
    for job in dict(jobs):
        moved[job] = time.time()
        _call(stack, "POST", f"/jobs/{job}/pause", headers)
        time.sleep(0.1)
    answered = json.loads(process.stdout.readline())
    process.wait(30)
    return idle, [1000 * (at - moved[job]) for at, (job, _) in zip(answered, jobs, strict=True)]


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
