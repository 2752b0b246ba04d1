"""Pages over real sockets, while what feeds them breaks."""

import asyncio
import contextlib
import json
import time

import psutil
import pytest
import websockets
from websockets.asyncio.client import connect

from tests.faults.figures import percentile
from tests.faults.page import Page, session
from tests.faults.test_workers import NONE_LOST


async def agreed(running, pages, seconds):
    """Seconds until every page shows what the database says; None when that took longer."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        rows = await asyncio.to_thread(running.query, "SELECT id, status FROM jobs_job")
        truth = dict(rows)
        if all(page.statuses() == truth for page in pages):
            return time.monotonic() - began
        await asyncio.sleep(0.1)
    return None


async def until(holds, seconds):
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110  (a condition over many pages)
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def watching(running, number, cookie, **how):
    pages = [Page(running.address, cookie, **how) for _ in range(number)]
    tasks = [asyncio.create_task(page.keep_open()) for page in pages]
    try:
        yield pages
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def opened(pages, seconds=60):
    """Seconds until all of them are."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        await asyncio.gather(*(page.open.wait() for page in pages))
    return time.monotonic() - began


@pytest.mark.timeout(300)
@pytest.mark.fault("Redis restarted under open sockets; sockets idle", "0 closes; page agrees again <= 5 s")
def test_idle_sockets_stay_open_and_agree_again_after_redis_was_away(site, row, short):
    idle = 6 if short else 60

    async def story(running):
        async with watching(running, 5, session(running)) as pages:
            await opened(pages)
            await asyncio.sleep(idle)
            row.seen["closes_while_idle"] = sum(len(page.closed) for page in pages)
            running.servers.kill_redis()
            await asyncio.to_thread(running.submit, 20, params={"seconds": 0.1})
            running.servers.start_redis()
            await asyncio.to_thread(running.await_ends, 20)
            row.seen["agree_after_s"] = await agreed(running, pages, 10)
            row.seen["closes"] = sum(len(page.closed) for page in pages)
            row.seen["went_back"] = sum(page.back for page in pages)

    with site(web=True, worker_processes=2, slots=4) as running:
        asyncio.run(story(running))
        row.seen |= running.judge()
    assert NONE_LOST.items() <= row.seen.items()
    assert row.seen["closes"] == row.seen["went_back"] == 0
    assert row.seen["agree_after_s"] is not None
    assert row.seen["agree_after_s"] <= 5


@pytest.mark.timeout(300)
@pytest.mark.fault("web process killed in mid-burst", "page agrees <= 5 s after it is back")
def test_pages_agree_after_their_web_process_was_killed(site, row, short):
    jobs = 90 if short else 150

    async def story(running):
        async with watching(running, 5, session(running)) as pages:
            await opened(pages)
            running.submitting(jobs, rate=30, params={"seconds": 0.05})
            await asyncio.sleep(2)
            running.kill_group("web")
            await asyncio.to_thread(running.await_clients)
            await asyncio.to_thread(running.start_web)
            await asyncio.to_thread(running.await_ends, jobs)
            row.seen["agree_after_s"] = await agreed(running, pages, 15)
            row.seen["went_back"] = sum(page.back for page in pages)

    with site(web=True, worker_processes=2, slots=4) as running:
        asyncio.run(story(running))
        row.seen |= running.judge()
    assert NONE_LOST.items() <= row.seen.items()
    assert row.seen["went_back"] == 0
    assert row.seen["agree_after_s"] is not None
    assert row.seen["agree_after_s"] <= 5


@pytest.mark.timeout(300)
@pytest.mark.fault("logout or revoked permission while connected", "closed <= 60 s")
def test_a_socket_is_closed_when_its_session_ends(site, row):
    forget = "from django.contrib.sessions.models import Session; Session.objects.all().delete()"

    async def story(running):
        async with watching(running, 3, session(running)) as pages:
            await opened(pages)
            await asyncio.to_thread(running.manage, "shell", "-v", "0", "-c", forget)
            began = time.monotonic()
            await until(lambda: all(page.closed for page in pages), 90)
            row.seen["closed_after_s"] = round(time.monotonic() - began, 1)
            row.seen["codes"] = sorted({page.closed[0] for page in pages})

    with site(web=True, worker_processes=1, slots=1) as running:
        asyncio.run(story(running))
    assert row.seen["closed_after_s"] <= 60


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.fault("1,000 sockets; all reconnect at once", "all back <= 30 s; update p95 <= 500 ms")
def test_a_thousand_sockets_come_back_at_once(site, row):
    async def story(running):
        async with watching(running, 1000, session(running)) as pages:
            row.seen["first_open_s"] = round(await opened(pages, 120), 1)
            submit = await asyncio.to_thread(running.armed)
            for page in pages:
                page.heard_at = 0.0
            await asyncio.to_thread(submit)
            await until(lambda: all(page.heard_at for page in pages), 60)
            (entry,) = running.history.entries("submitting")
            row.seen["update_p95_s"] = percentile([page.heard_at - entry["at"] for page in pages], 95)
            running.kill_group("web")
            await asyncio.to_thread(running.start_web)
            for page in pages:
                page.open.clear()
            row.seen["all_back_s"] = round(await opened(pages, 120), 1)

    with site(web=True, worker_processes=1, slots=1, JOBSITE_SOCKETS_PER_USER="5000") as running:
        asyncio.run(story(running))
    assert row.seen["all_back_s"] <= 30
    assert row.seen["update_p95_s"] <= 0.5


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.fault(
    "50 clients that never read; client floods", "<= 0.5 MB a slow client, closed <= 35 s; a flood is closed at once"
)
def test_clients_that_never_read_cost_little_and_are_let_go(site, row):
    async def deaf(running, cookie):
        headers = {"Cookie": f"sessionid={cookie}", "Origin": running.address}
        url = running.address.replace("http", "ws", 1) + "/live/"
        socket = await connect(url, additional_headers=headers, max_queue=1, max_size=None, open_timeout=30)
        await socket.send(json.dumps({"t": "hello", "topic": "jobs", "ids": []}))
        socket.transport.pause_reading()
        return socket

    async def story(running):
        cookie = session(running)
        web = psutil.Process(running.processes["web"].pid)
        sockets = [await deaf(running, cookie) for _ in range(50)]
        before, most = web.memory_info().rss, 0
        connected = len(web.net_connections("tcp"))
        running.submitting(2000, rate=60, params={"seconds": 0.0})
        began = time.monotonic()
        while len(web.net_connections("tcp")) > connected - 50 and time.monotonic() - began < 60:
            most = max(most, web.memory_info().rss - before)
            await asyncio.sleep(0.2)
        row.seen["all_closed_after_s"] = round(time.monotonic() - began, 1)
        row.seen["mb_each"] = round(most / 50 / 2**20, 2)
        for socket in sockets:
            socket.transport.abort()
        row.seen["flood_closed_with"] = await flood(running, cookie)
        await asyncio.to_thread(running.await_clients)

    with site(web=True, worker_processes=1, slots=2, JOBSITE_SOCKETS_PER_USER="5000") as running:
        asyncio.run(story(running))
    assert row.seen["mb_each"] <= 0.5
    assert row.seen["all_closed_after_s"] <= 35
    assert row.seen["flood_closed_with"] == 4429


async def flood(running, cookie):
    headers = {"Cookie": f"sessionid={cookie}", "Origin": running.address}
    url = running.address.replace("http", "ws", 1) + "/live/"
    async with connect(url, additional_headers=headers, max_size=None) as socket:
        with contextlib.suppress(websockets.ConnectionClosed):
            for number in range(5000):
                await socket.send(json.dumps({"t": "ack", "n": number}))
            async for _ in socket:
                pass
        return socket.close_code
