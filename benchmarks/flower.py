"""Beside Flower on the same Celery work: how long its list takes, what it holds in memory, how soon a change is seen."""

from __future__ import annotations

import asyncio
import json
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import websockets

from benchmarks.browser import CHROMIUM, chromium
from benchmarks.form import Goal, Report
from benchmarks.progress import run_jobs
from benchmarks.stack import ROOT, Stack, stopped, wait_until
from benchmarks.submit import flower_server, peer_env, token_headers
from benchmarks.throughput import PEERS, WORKERS

LOADS = 20
CHANGES = 20
# As its page asks for rows; by itself it shows 15, here as many as Jobsite's.
ROWS = 50
NEWEST = {
    "draw": 1,
    "start": 0,
    "length": ROWS,
    "search[value]": "",
    "order[0][column]": 0,
    "order[0][dir]": "desc",
    "columns[0][data]": "name",
}
SIGN_IN = """
from django.contrib.auth.models import User
from django.test import Client
client = Client()
client.force_login(User.objects.create_superuser('bench'))
print(client.session.session_key)
"""


def measure(*, short: bool) -> Report:
    """10,000 no-op tasks through each; then the first page of the list, the resident memory, and single tasks as they end."""
    tasks = 300 if short else 10_000
    report = Report(name="flower", figures={"tasks": tasks})
    report.figures |= {f"jobsite_{figure}": value for figure, value in ours(tasks).items()}
    if not PEERS.exists():
        report.notes.append("no peers here: `make bench-setup` installs them")
        return report
    report.figures |= {f"flower_{figure}": value for figure, value in flowers(tasks).items()}
    report.notes += [
        f"page: the list of the newest {ROWS} tasks, over HTTP. Jobsite's is drawn by the server, from the database, for who is",
        "signed in. Flower's is an empty page, then rows as JSON, two requests, from memory, for anybody; a script makes a table",
        "painted: what that comes to in Chromium, from the navigation until a row is painted, of Flower the 15 rows that it shows",
        "seen: from handing a task in over HTTP to the word that it is done; pushed to an open page of Jobsite, asked of Flower a",
        "hundred times a second, because its list does not move by itself: there it is seen at the next reload",
        "memory: of the web process. Flower keeps the last 10,000 tasks in it, and loses them with it; Jobsite's are stored",
    ]
    report.goals.append(Goal(figure="jobsite_page_p50_ms", at_most=100))
    return report


def middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def timed(load: Callable[[], object]) -> float:
    """The median of some loads, in ms; the first is not counted."""
    seen = []
    for _ in range(LOADS + 1):
        began = time.perf_counter()
        load()
        seen.append((time.perf_counter() - began) * 1000)
    return middle(seen[1:])


def fetched(address: str, *, body: Any = None, form: dict[str, Any] | None = None, headers: dict[str, str] | None = None) -> bytes:
    """GET; or POST, where there is a body (sent as JSON) or a form."""
    data = json.dumps(body).encode() if body is not None else urllib.parse.urlencode(form).encode() if form else None
    kind = {"Content-Type": "application/json"} if body is not None else {}
    request = urllib.request.Request(address, data, kind | (headers or {}))  # noqa: S310  (our own address)
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  (our own address)
        return bytes(answer.read())


_PAINTED = """(() => {
    const look = () => {
        if (!document.querySelector(%s)) return requestAnimationFrame(look);
        requestAnimationFrame(() => setTimeout(() => { window.paintedAt = performance.now(); }, 0));
    };
    look();
})()"""


def painted(address: str, row: str, *, session: str = "") -> dict[str, float]:
    """The median time (ms) until the first row is painted in Chromium; nothing where there is none."""
    if CHROMIUM is None:
        return {}
    with chromium() as browser:
        context = browser.new_context()
        if session:
            context.add_cookies([{"name": "sessionid", "value": session, "url": address}])
        context.add_init_script(_PAINTED % json.dumps(row))
        page = context.new_page()
        seen = []
        for _ in range(LOADS + 1):
            page.goto(address, wait_until="commit")
            # Not by `wait_for_function`, which the policy of the page forbids.
            wait_until("a row is painted", lambda: page.evaluate("window.paintedAt"), pause=0.02)
            seen.append(float(page.evaluate("window.paintedAt")))
        context.close()
    return {"painted_p50_ms": middle(seen[1:])}


def ours(tasks: int) -> dict[str, float]:
    with Stack(web=True, worker_processes=WORKERS, slots=8, JOBSITE_TOOLS="benchmarks.tools") as stack:
        session = stack.manage("shell", "-v", "0", "-c", SIGN_IN).split()[-1]
        run_jobs(stack, "bench.noop", {}, tasks)
        page = timed(lambda: fetched(f"{stack.address}/jobs/", headers={"Cookie": f"sessionid={session}"}))
        memory = psutil.Process(stack.processes["web"].pid).memory_info().rss / 1024 / 1024
        seen = asyncio.run(_pushed(stack, session))
        return {"page_p50_ms": page, "memory_mb": memory, "seen_p50_ms": seen} | painted(
            f"{stack.address}/jobs/", "tr[data-job]", session=session
        )


async def _pushed(stack: Stack, session: str) -> float:
    headers = {"Cookie": f"sessionid={session}", "Origin": stack.address}
    submit = {"address": f"{stack.address}/api/v1/jobs", "body": {"toolName": "bench.noop"}, "headers": token_headers(stack)}
    seen = []
    async with websockets.connect(f"ws://127.0.0.1:{stack.port}/live/", additional_headers=headers) as socket:
        await socket.send(json.dumps({"t": "hello", "topic": "jobs", "ids": []}))
        heard = 0
        for _ in range(CHANGES):
            heard += await _quiet(socket)
            began = time.perf_counter()
            job = json.loads(await asyncio.to_thread(fetched, **submit))["jobId"]
            done = False
            while not done:
                jobs = json.loads(await asyncio.wait_for(socket.recv(), 30))["jobs"]
                heard += 1
                done = any(delta["id"] == job and delta.get("status") == "completed" for delta in jobs)
            seen.append((time.perf_counter() - began) * 1000)
            await socket.send(json.dumps({"t": "ack", "n": heard}))
    return middle(seen)


async def _quiet(socket: Any) -> int:
    """Until nothing came for half a second, as for who waits for one job; how many messages came until then."""
    came = 0
    while True:
        try:
            await asyncio.wait_for(socket.recv(), 0.5)
        except TimeoutError:
            return came
        came += 1


def flowers(tasks: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="jobsite-peer-") as folder:
        env = peer_env(Path(folder))
        with flower_server(env, Path(folder)) as (port, process), _worker(env, Path(folder)):
            address = f"http://127.0.0.1:{port}"
            command = [str(PEERS), "-m", "benchmarks.peers", "send", str(tasks)]
            subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, timeout=300)
            time.sleep(2)  # its last events are on their way
            page = timed(lambda: (fetched(f"{address}/tasks"), fetched(f"{address}/tasks/datatable", form=NEWEST)))
            memory = psutil.Process(process.pid).memory_info().rss / 1024 / 1024
            seen = middle([_asked(address) for _ in range(CHANGES)])
            return {"page_p50_ms": page, "memory_mb": memory, "seen_p50_ms": seen} | painted(
                f"{address}/tasks", "#tasks-table tbody tr[id]"
            )


def _asked(address: str) -> float:
    began = time.perf_counter()
    task = json.loads(fetched(f"{address}/api/task/async-apply/noop", body={"args": []}))["task-id"]
    wait_until("Flower knows of the task", lambda: _state(address, task) == "SUCCESS", seconds=30, pause=0.01)
    return (time.perf_counter() - began) * 1000


def _state(address: str, task: str) -> str:
    try:
        return str(json.loads(fetched(f"{address}/api/task/info/{task}"))["state"])
    except urllib.error.HTTPError as unknown:
        # It has not heard of it yet.
        if unknown.code != 404:
            raise
        return ""


@contextmanager
def _worker(env: dict[str, str], folder: Path) -> Iterator[None]:
    """A Celery worker that tells what it does, without which Flower knows nothing."""
    command = [
        "celery",
        "-A",
        "benchmarks.peers.app:celery",
        "worker",
        "-E",
        "--concurrency",
        str(WORKERS),
        "--loglevel",
        "WARNING",
    ]
    with (folder / "worker.log").open("ab") as log:
        process = subprocess.Popen([str(PEERS), "-m", *command], cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        yield
    finally:
        stopped(process)
