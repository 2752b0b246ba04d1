"""A thousand live sockets on one web process: how late a change is, what is lost, what a socket and a slow client cost."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass
from typing import Any

import psutil
import redis.asyncio

from benchmarks.form import Goal, Report, quantiles
from benchmarks.stack import Stack, stopped
from benchmarks.viewers import open_pages

JOBS, A_SECOND = 20, 2
READERS = DEAF = 50
TABS = 100
QUIET = 3.0
# PostgreSQL counts the transactions of a connection that rests so much later. Seconds.
COUNTED_WITHIN = 11.0
# A client that never reads is closed within this; seconds.
CLOSED_WITHIN = 35

MAKE = f"""
from django.contrib.auth.models import User
from django.test import Client
from benchmarks.running_jobs import begin
client = Client()
client.force_login(User.objects.create_superuser('bench'))
print(client.session.session_key, *begin({JOBS}))
"""


def measure(*, short: bool) -> Report:
    """1,000 sockets, 20 running jobs, 2 changes a second each; all come back at once; a hundred tabs; 50 that never read."""
    with Stack(web=True, worker_processes=0, slots=JOBS, JOBSITE_SOCKETS_PER_USER="5000", JOBSITE_LEASE="3600") as stack:
        session, *jobs = stack.manage("shell", "-v", "0", "-c", MAKE).split()
        # What is asked of the database from here on, the web process asks.
        stopped(stack.processes.pop("dispatcher"))
        figures = asyncio.run(_Bench(stack, session, jobs, short=short).figures())
    goals = {
        "late_p95_ms": 500,
        "late_p99_ms": 1000,
        "lost_after_quiet": 0,
        "cpu_cores": 1,
        "kb_a_socket": 60,
        "all_back_s": 30,
        "asked_more_by_tabs": 5,
        "with_deaf_p99_ms": 300,
        "mb_a_deaf_client": 0.5,
        "deaf_closed_s": CLOSED_WITHIN,
    }
    held = [Goal(figure=name, at_most=most) for name, most in goals.items() if name in figures]
    return Report(name="sockets", figures=figures, goals=held, notes=["the clients share this machine with the server"])


@dataclass
class _Bench:
    stack: Stack
    session: str
    jobs: list[str]
    short: bool
    tick: int = 0

    def __post_init__(self) -> None:
        self.web = psutil.Process(self.stack.processes["web"].pid)
        self.address = f"ws://127.0.0.1:{self.stack.port}/live/"
        self.headers = {"Cookie": f"sessionid={self.session}", "Origin": self.stack.address}
        self.sockets, self.seconds = (100, 3.0) if self.short else (1000, 20.0)

    async def figures(self) -> dict[str, Any]:
        figures: dict[str, Any] = {"sockets": self.sockets}
        # What takes long by nature is left out of the short form.
        for part in (self.watched, self.back_at_once, *(() if self.short else (self.tabs,)), self.beside_deaf):
            figures |= await part()
        return figures

    async def watched(self) -> dict[str, Any]:
        """Delay, loss, CPU and memory while all watch."""
        before = self.web.memory_info().rss
        async with open_pages(self.address, self.headers, self.sockets) as (viewers, opened):
            memory = self.web.memory_info().rss - before
            used, began = sum(self.web.cpu_times()[:2]), time.monotonic()
            await self.tell(self.seconds)
            cpu = (sum(self.web.cpu_times()[:2]) - used) / (time.monotonic() - began)
            await asyncio.sleep(QUIET)
            lost = sum(viewer.seen.get(job, 0) != self.tick for viewer in viewers for job in self.jobs)
            late = quantiles("late", [late for viewer in viewers for late in viewer.late])
        return {"opened_s": opened, **late, "lost_after_quiet": lost, "cpu_cores": cpu, "kb_a_socket": memory / 1024 / self.sockets}

    async def back_at_once(self) -> dict[str, Any]:
        """As after a restart of the web process: nobody waits for anybody."""
        async with open_pages(self.address, self.headers, self.sockets, at_once=self.sockets) as (_, back):
            return {"all_back_s": back}

    async def tabs(self) -> dict[str, Any]:
        """Transactions of the web process while one page is open, and while a hundred are."""
        asked = []
        for number in (1, TABS):
            async with open_pages(self.address, self.headers, number):
                await asyncio.sleep(COUNTED_WITHIN)
                before = await self.transactions()
                await self.tell(self.seconds / 2)
                await asyncio.sleep(COUNTED_WITHIN)
                asked.append(await self.transactions() - before)
        return {"asked_by_one_tab": asked[0], "asked_by_tabs": asked[1], "asked_more_by_tabs": asked[1] - asked[0]}

    async def transactions(self) -> int:
        count = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
        return int(str(await asyncio.to_thread(self.stack.one, count)))

    async def beside_deaf(self) -> dict[str, Any]:
        """Those who read, beside as many who never do; until the last of these is closed, where there is time for it."""
        async with open_pages(self.address, self.headers, READERS) as (viewers, _):
            before, since = self.web.memory_info().rss, time.monotonic()
            async with open_pages(self.address, self.headers, DEAF, deaf=True):
                await self.tell(self.seconds)
                memory = self.web.memory_info().rss - before
                seen = quantiles("with_deaf", [late for viewer in viewers for late in viewer.late])
                seen |= {"mb_a_deaf_client": max(0.0, memory / 1024 / 1024 / DEAF)}
                if not self.short:
                    seen |= {"deaf_closed_s": await self.closed(since)}
        return seen

    async def closed(self, since: float) -> float:
        """Seconds until the server holds only the sockets of those who read; they hear of changes meanwhile."""
        while self.open_sockets() > READERS and time.monotonic() - since < 2 * CLOSED_WITHIN:
            await self.tell(0.5)
        return time.monotonic() - since

    def open_sockets(self) -> int:
        held = self.web.net_connections(kind="tcp")
        return sum(c.status == psutil.CONN_ESTABLISHED and c.laddr.port == self.stack.port for c in held)

    async def tell(self, seconds: float) -> None:
        """Progress as workers publish it, spread over time; each round gives every job its next tick."""
        link = redis.asyncio.Redis.from_url(os.environ["REDIS_URL"])
        until, pause = time.monotonic() + seconds, 1 / (A_SECOND * len(self.jobs))
        while time.monotonic() < until:
            self.tick += 1
            for place, job in enumerate(self.jobs, 1):
                due = time.monotonic() + pause
                words = f"at {time.time() * 1000:.1f}"
                delta = {"id": job, "v": [3, self.tick], "progress": float(place), "message": words, "stage": "s"}
                await link.publish(f"{self.stack.name}:live", json.dumps([delta]))
                await asyncio.sleep(max(0.0, due - time.monotonic()))
        await link.aclose()
