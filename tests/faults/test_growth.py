"""12: what processes hold (file descriptors, connections, threads, memory) does not grow with what they have done."""

import asyncio

import psutil
import pytest

from tests.faults.page import session
from tests.faults.test_sockets import opened, watching
from tests.faults.test_workers import NONE_LOST

MB = 2**20
LINKS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def held(running):
    """Name of a process -> (file descriptors, threads, MB); the children of the worker together."""
    families = {name: [psutil.Process(process.pid)] for name, process in running.processes.items()}
    families["children"] = running.children("worker")
    return {
        name: (
            sum(process.num_fds() for process in family),
            sum(process.num_threads() for process in family),
            round(sum(process.memory_info().rss for process in family) / MB, 1),
        )
        for name, family in families.items()
    }


async def looked_at(running, cookie):
    async with watching(running, 30, cookie) as pages:
        await opened(pages)


def turn(running, number, cookie, jobs):
    """Jobs that succeed, fail, leave programs behind; pages that come and go; Redis that is killed."""
    running.submitting(jobs, prefix=f"short{number}")
    running.submitting(10, tool="fault.fails", prefix=f"failing{number}")
    running.submitting(5, tool="fault.litters", prefix=f"litter{number}")
    for _ in range(2):
        asyncio.run(looked_at(running, cookie))
    running.servers.kill_redis()
    running.servers.start_redis()
    running.await_clients()
    running.await_ends((number + 1) * (jobs + 15))


@pytest.mark.timeout(900)
@pytest.mark.fault(
    "many jobs, pages that come and go, Redis killed: what the processes hold",
    "descriptors, threads, connections, memory level off",
)
def test_what_processes_hold_does_not_grow(site, row, short):
    turns, jobs = (3, 60) if short else (12, 500)
    with site(web=True, worker_processes=3, slots=6) as running:
        cookie = session(running)
        seen, links = [], []
        for number in range(turns):
            turn(running, number, cookie, jobs)
            seen.append(held(running))
            links.append(int(running.one(LINKS)))
            running.say(f"turn {number + 1} of {turns}: {seen[-1]}; {links[-1]} connections to the database")
        # The first turns fill caches, pools and what is loaded late; the children may be new ones.
        since = min(1, turns - 2) if short else turns // 2
        grown = {
            name: [after - before for after, before in zip(seen[-1][name], seen[since][name], strict=True)] for name in seen[0]
        }
        row.seen = running.judge() | {
            "descriptors_grown": max(fds for fds, _, _ in grown.values()),
            "threads_grown": max(threads for _, threads, _ in grown.values()),
            "connections_grown": links[-1] - links[since],
            "mb_grown": round(max(megabytes for _, _, megabytes in grown.values()), 1),
            "turns_compared": turns - 1 - since,
        }
    assert NONE_LOST.items() <= row.seen.items()
    assert row.seen["descriptors_grown"] <= 6
    assert row.seen["threads_grown"] <= 3
    assert row.seen["connections_grown"] <= 3
    assert row.seen["mb_grown"] <= (12 if short else 30)
