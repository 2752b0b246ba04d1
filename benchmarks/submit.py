"""Submits over HTTP, each with a durable row, beside Flower's, which stores nothing; and a bulk of a thousand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.form import Goal, Report
from benchmarks.stack import ROOT, Stack, free_port, stopped, wait_until
from benchmarks.throughput import PEERS

CONNECTIONS = 16


def load(port: int, path: str, *, headers: dict[str, str], body: object = None, seconds: float, **how: Any) -> dict[str, float]:
    wanted = {
        "port": port,
        "path": path,
        "headers": headers,
        "body": "" if body is None else json.dumps(body),
        "seconds": seconds,
        "method": "POST",
        "connections": CONNECTIONS,
        "expected": 202,
    } | how
    command = [sys.executable, "-m", "benchmarks.load"]
    done = subprocess.run(command, cwd=ROOT, input=json.dumps(wanted), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def token_headers(stack: Stack) -> dict[str, str]:
    secret = stack.manage("token", "create", "--name", f"bench{time.monotonic_ns()}", "--scope", "admin").split()[-1]
    return {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}


def measure(*, short: bool) -> Report:
    """16 connections for some seconds against one process of each server, in turns; the queue itself is paused meanwhile."""
    seconds, rounds = (2.0, 1) if short else (8.0, 3)
    seen: dict[str, list[dict[str, float]]] = {"daphne": [], "granian": [], "flower": []}
    with Stack(web=True, api=True, worker_processes=0, slots=0, JOBSITE_TOOLS="benchmarks.tools") as stack:
        headers = token_headers(stack)
        body = {"toolName": "bench.noop"}
        for _ in range(rounds):
            seen["daphne"].append(load(stack.port, "/api/v1/jobs", headers=headers, body=body, seconds=seconds))
            if PEERS.exists():
                seen["flower"].append(flower(seconds))
            seen["granian"].append(load(stack.api_port, "/api/v1/jobs", headers=headers, body=body, seconds=seconds))
        bulk = sorted(bulk_ms(stack, headers) for _ in range(3 if short else 9))
    figures: dict[str, Any] = {}
    for name, turns in seen.items():
        if turns:
            middle = sorted(turns, key=lambda turn: turn["a_second"])[len(turns) // 2]
            figures |= {f"{name}_{figure}": value for figure, value in middle.items()}
    figures["bulk_1000_ms"] = bulk[len(bulk) // 2]
    goals = [Goal(figure="bulk_1000_ms", at_most=300)]
    notes = [f"the median of {rounds} turns of {seconds:g} s; the bulk has 999 dependencies, and is sent to the WSGI server"]
    if seen["flower"]:
        figures["daphne_times_flower"] = figures["daphne_a_second"] / figures["flower_a_second"]
        figures["granian_times_flower"] = figures["granian_a_second"] / figures["flower_a_second"]
        goals += [Goal(figure="daphne_times_flower", at_least=1.0), Goal(figure="granian_times_flower", at_least=3.0)]
    else:
        notes.append("no peers here: `make bench-setup` installs them")
    return Report(name="submit", figures=figures, goals=goals, notes=notes)


def bulk_ms(stack: Stack, headers: dict[str, str]) -> float:
    jobs = [{"key": str(n), "toolName": "bench.noop", "dependencies": [str(n - 1)] if n else []} for n in range(1000)]
    address = f"{stack.api_address}/api/v1/bulk"
    request = urllib.request.Request(address, json.dumps({"jobs": jobs}).encode(), headers, method="POST")  # noqa: S310  (our own)
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  (our own address)
        answer.read()
    return 1000 * (time.perf_counter() - began)


def flower(seconds: float) -> dict[str, float]:
    with (
        tempfile.TemporaryDirectory(prefix="jobsite-peer-") as folder,
        flower_server(peer_env(Path(folder)), Path(folder)) as (port, _),
    ):
        path = "/api/task/async-apply/noop"
        return load(port, path, headers={"Content-Type": "application/json"}, body={"args": []}, seconds=seconds, expected=200)


def peer_env(folder: Path) -> dict[str, str]:
    """Plain Celery's environment, for its worker, its clients and Flower."""
    env = os.environ | {
        "BENCH_PEER": "celery",
        "BENCH_MARKS": str(folder / "marks"),
        "BENCH_PREFIX": f"peer{time.monotonic_ns()}:",
        "PYTHONPATH": str(ROOT),
        "FLOWER_UNAUTHENTICATED_API": "true",
    }
    env.pop("DJANGO_SETTINGS_MODULE", None)
    return env


@contextmanager
def flower_server(env: dict[str, str], folder: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Flower, answering on a port."""
    port = free_port()
    command = [str(PEERS), "-m", "celery", "-A", "benchmarks.peers.app:celery", "flower", f"--port={port}", "--address=127.0.0.1"]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until("Flower answers", lambda: _answers(port))
        yield port, process
    finally:
        stopped(process)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthcheck", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
