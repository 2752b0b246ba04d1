"""A thousand live sockets on one web process: how late a change is, what is lost, what a socket and a slow client cost."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import Any

import psutil
import redis
import websockets

from benchmarks.form import Goal, Report
from benchmarks.live import quantiles
from benchmarks.stack import Stack

JOBS, A_SECOND = 20, 2
DEAF = 50

MAKE = f"""
from django.contrib.auth.models import User
from django.test import Client
from benchmarks.running_jobs import begin
client = Client()
client.force_login(User.objects.create_superuser('bench'))
print(client.session.session_key, *begin({JOBS}))
"""


class Viewer:
    """A page as the hub sees it: acknowledges, and notes how late each change came."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self.seen: dict[str, int] = {}
        self.opened = asyncio.Event()

    async def watch(self, address: str, headers: dict[str, str], ready: asyncio.Semaphore, *, deaf: bool = False) -> None:
        async with ready:
            socket = await websockets.connect(address, additional_headers=headers, open_timeout=60, max_queue=1 if deaf else 64)
            await socket.send(json.dumps({"t": "hello", "topic": "jobs", "ids": []}))
        if deaf:
            socket.transport.pause_reading()
            await socket.wait_closed()
            return
        received = 0
        try:
            async for text in socket:
                received += 1
                await socket.send(json.dumps({"t": "ack", "n": received}))
                self.take(json.loads(text))
        finally:
            await socket.close()

    def take(self, message: dict[str, Any]) -> None:
        now = time.time() * 1000
        self.opened.set()
        for job in message["jobs"]:
            tick = job["v"][1]
            if tick > self.seen.get(job["id"], 0):
                self.seen[job["id"]] = tick
                if message["t"] == "frame" and job.get("message", "").startswith("at "):
                    self.late.append(now - float(job["message"][3:]))


def measure(*, short: bool) -> Report:
    """1,000 sockets, 20 running jobs, 2 changes a second each; then all come back at once; then 50 that never read."""
    sockets, seconds = (50, 3) if short else (1000, 20)
    with Stack(web=True, worker_processes=1, JOBSITE_SOCKETS_PER_USER="5000", JOBSITE_LEASE="3600") as stack:
        session, *jobs = stack.manage("shell", "-v", "0", "-c", MAKE).split()
        figures = asyncio.run(_measured(stack, session, jobs, sockets, seconds))
    goals = [
        Goal(figure="late_p95_ms", at_most=500),
        Goal(figure="late_p99_ms", at_most=1000),
        Goal(figure="lost_after_quiet", at_most=0),
        Goal(figure="cpu_cores", at_most=1),
        Goal(figure="kb_a_socket", at_most=60),
        Goal(figure="all_back_s", at_most=30),
        Goal(figure="with_deaf_p99_ms", at_most=300),
        Goal(figure="mb_a_deaf_client", at_most=0.5),
    ]
    return Report(name="sockets", figures=figures, goals=goals, notes=["the clients share this machine with the server"])


async def _measured(stack: Stack, session: str, jobs: list[str], sockets: int, seconds: float) -> dict[str, Any]:
    address = f"ws://127.0.0.1:{stack.port}/live/"
    headers = {"Cookie": f"sessionid={session}", "Origin": stack.address}
    web = psutil.Process(stack.processes["web"].pid)
    before = web.memory_info().rss
    viewers, tasks, back = await _opened(address, headers, sockets)
    memory = web.memory_info().rss - before
    used, began = sum(web.cpu_times()[:2]), time.monotonic()
    tick = await _told(stack, jobs, 1, seconds)
    cpu = (sum(web.cpu_times()[:2]) - used) / (time.monotonic() - began)
    await asyncio.sleep(3)
    lost = sum(viewer.seen.get(job, 0) != tick for viewer in viewers for job in jobs)
    figures: dict[str, Any] = {
        "sockets": sockets,
        "opened_s": back,
        **quantiles("late", [late for viewer in viewers for late in viewer.late]),
        "lost_after_quiet": lost,
        "cpu_cores": cpu,
        "kb_a_socket": memory / 1024 / sockets,
    }
    await _closed(tasks)
    _, tasks, figures["all_back_s"] = await _opened(address, headers, sockets, at_once=sockets)
    await _closed(tasks)
    return figures | await _beside_deaf(stack, web, address, headers, jobs, tick, seconds)


async def _beside_deaf(
    stack: Stack, web: psutil.Process, address: str, headers: dict[str, str], jobs: list[str], tick: int, seconds: float
) -> dict[str, Any]:
    viewers, tasks, _ = await _opened(address, headers, 50)
    before = web.memory_info().rss
    deaf = [asyncio.create_task(Viewer().watch(address, headers, asyncio.Semaphore(1), deaf=True)) for _ in range(DEAF)]
    await asyncio.sleep(1)
    await _told(stack, jobs, tick + 1, seconds)
    memory = web.memory_info().rss - before
    figures = quantiles("with_deaf", [late for viewer in viewers for late in viewer.late])
    await _closed([*tasks, *deaf])
    return figures | {"mb_a_deaf_client": max(0.0, memory / 1024 / 1024 / DEAF)}


async def _opened(
    address: str, headers: dict[str, str], number: int, at_once: int = 50
) -> tuple[list[Viewer], list[asyncio.Task[None]], float]:
    """Viewers that have said what they show, and how long that took until the last had its snapshot."""
    began, ready = time.monotonic(), asyncio.Semaphore(at_once)
    viewers = [Viewer() for _ in range(number)]
    tasks = [asyncio.create_task(viewer.watch(address, headers, ready)) for viewer in viewers]
    await asyncio.wait_for(asyncio.gather(*[viewer.opened.wait() for viewer in viewers]), 300)
    return viewers, tasks, time.monotonic() - began


async def _closed(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _told(stack: Stack, jobs: list[str], tick: int, seconds: float) -> int:
    """Progress as workers publish it, spread over time; the last tick."""
    link = redis.asyncio.Redis.from_url(os.environ["REDIS_URL"])
    pause = 1 / (A_SECOND * len(jobs))
    until = time.monotonic() + seconds
    while True:
        for job in jobs:
            delta = {"id": job, "v": [3, tick], "progress": 50.0, "message": f"at {time.time() * 1000:.1f}", "stage": "s"}
            await link.publish(f"{stack.name}:live", json.dumps([delta]))
            await asyncio.sleep(pause)
        if time.monotonic() > until:
            await link.aclose()
            return tick
        tick += 1
