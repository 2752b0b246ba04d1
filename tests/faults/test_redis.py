"""Redis goes away, forgets everything, is slow, lies. It carries hints only: latency is lost, no job."""

import json
import threading
import time

import pytest

from benchmarks.stack import wait_until
from tests.faults.figures import percentile
from tests.faults.proxy import Proxy
from tests.faults.test_workers import NONE_LOST

RING_ALL = """
from jobs import doorbell
from jobs.models import Attempt
for attempt in Attempt.objects.all():
    for _ in range({times}):
        doorbell.send(attempt.id, attempt.queue, attempt.timeout_ms)
"""


def ring_all(running, times):
    """A doorbell for every attempt there ever was."""
    running.manage("shell", "-v", "0", "-c", RING_ALL.format(times=times))


def queue_key(running):
    return f"{running.env['JOBSITE_REDIS_PREFIX']}:celery:default"


def submit_times(running):
    return [entry["seconds"] for entry in running.history.entries("acknowledged")]


@pytest.mark.timeout(200)
@pytest.mark.fault("Redis killed and restarted empty, 200 doorbells queued", "0 lost, all rung again <= 10 s")
def test_doorbells_that_died_with_redis_are_rung_again(site, row):
    with site(worker_processes=4, slots=200) as running:
        running.kill_group("worker")
        running.submit(200)
        wait_until("all are admitted", lambda: running.one("SELECT count(*) FROM jobs_attempt WHERE state = 'admitted'") == 200)
        ring_all(running, 1)
        queued = int(running.servers.redis_cli("LLEN", queue_key(running)))
        running.servers.kill_redis()
        running.servers.start_redis()
        running.start_worker()
        began = time.monotonic()
        running.await_ends(200, 60)
        row.seen = running.judge() | {"doorbells_lost": queued, "all_done_after_s": round(time.monotonic() - began, 1)}
    assert NONE_LOST.items() <= row.seen.items()
    assert queued >= 200
    assert row.seen["all_done_after_s"] <= 10


@pytest.mark.timeout(300)
@pytest.mark.fault("FLUSHALL every second under load", "0/0/0; workers still consume")
def test_what_is_flushed_under_load_is_rung_again(site, row, short):
    seconds = 7 if short else 40
    with site(worker_processes=3, slots=6) as running:
        running.submitting(seconds * 20, rate=20, params={"seconds": 0.05})
        for _ in range(seconds):
            running.servers.redis_cli("FLUSHALL")
            time.sleep(1)
        running.await_clients()
        running.await_ends(seconds * 20)
        row.seen = running.judge() | {"flushes": seconds}
    assert NONE_LOST.items() <= row.seen.items()


@pytest.mark.timeout(300)
@pytest.mark.fault("quick Redis restarts under load", "0/0/0; workers still consume")
def test_redis_that_is_restarted_again_and_again_loses_nothing(site, row, short):
    restarts = 6 if short else 30
    with site(worker_processes=3, slots=6) as running:
        running.submitting(restarts * 15, rate=15, params={"seconds": 0.05})
        for _ in range(restarts):
            running.servers.kill_redis()
            time.sleep(0.1)
            running.servers.start_redis()
            time.sleep(0.7)
        running.await_clients()
        began = time.monotonic()
        running.await_ends(restarts * 15)
        row.seen = running.judge() | {"restarts": restarts, "drained_after_s": round(time.monotonic() - began, 1)}
    assert NONE_LOST.items() <= row.seen.items()


@pytest.mark.alone
@pytest.mark.timeout(300)
@pytest.mark.fault("Redis down while submitting 10/s", "every submit succeeds, p99 <= 300 ms; drained <= 15 s after return")
def test_submitting_goes_on_while_redis_is_down(site, row, short):
    seconds = 10 if short else 60
    with site(worker_processes=3, slots=6) as running:
        running.servers.kill_redis()
        running.submit(seconds * 10, rate=10, params={"seconds": 0.02})
        running.servers.start_redis()
        began = time.monotonic()
        running.await_ends(seconds * 10, 60)
        row.seen = running.judge() | {
            "down_s": seconds,
            "submit_p99_ms": round(1000 * percentile(submit_times(running), 99)),
            "refused": running.history.count("unknown"),
            "drained_after_s": round(time.monotonic() - began, 1),
        }
    assert NONE_LOST.items() <= row.seen.items()
    assert row.seen["refused"] == 0
    assert row.seen["submit_p99_ms"] <= 300
    assert row.seen["drained_after_s"] <= 15


@pytest.mark.alone
@pytest.mark.timeout(300)
@pytest.mark.fault("Redis half open, slow (500 ms), resetting", "submit unaffected (p99 <= 300 ms); consuming again <= 15 s")
def test_redis_that_is_half_open_slow_or_resetting_delays_starts_only(site, row, short):
    seconds = 5 if short else 20
    with site(worker_processes=3, slots=6) as running, Proxy(running.servers.redis_socket) as proxy:
        # The processes are started anew, with the proxy between them and Redis.
        running.env["REDIS_URL"] = f"redis://127.0.0.1:{proxy.port}/0"
        for name, start in (("worker", running.start_worker), ("dispatcher", running.start_dispatcher)):
            running.kill_group(name)
            start()
        done = 0
        for mode in ("silent", "slow", "reset"):
            running.say(f"Redis is now {mode}")
            proxy.set(mode)
            running.submit(seconds * 20, rate=20, prefix=mode, params={"seconds": 0.02})
            proxy.set("pass")
            began = time.monotonic()
            before = running.history.count("started")
            running.submit(1, prefix=f"after-{mode}")
            wait_until("something is consumed", lambda before=before: running.history.count("started") > before, 60)
            row.seen[f"{mode}_consuming_after_s"] = round(time.monotonic() - began, 1)
            done += seconds * 20 + 1
            running.await_ends(done, 60)
        row.seen |= running.judge() | {"submit_p99_ms": round(1000 * percentile(submit_times(running), 99))}
    assert NONE_LOST.items() <= row.seen.items()
    assert max(value for name, value in row.seen.items() if name.endswith("after_s")) <= 15
    assert row.seen["submit_p99_ms"] <= 300


def garbage(running):
    """What is no doorbell of ours: no JSON, no message, no task, and a task with what is no attempt."""
    good = json.loads(running.servers.redis_cli("LINDEX", queue_key(running), "-1"))
    yield "not even JSON"
    yield "{}"
    yield '{"body": 7}'
    yield json.dumps(good | {"body": "AAAA"})
    yield json.dumps(good | {"content-type": "application/x-python-serialize"})
    yield json.dumps(good | {"headers": good["headers"] | {"task": "os.system"}})
    yield json.dumps(good | {"properties": {}})
    yield "x" * 1_000_000


NO_ATTEMPTS = """
from celery import current_app
from jobs import doorbell
for what in ([], ["1"], [None], [-1], [10**30], [True], [{"a": 1}], [1, 2, 3]):
    current_app.send_task(doorbell.TASK, args=what, queue="default", ignore_result=True)
"""


@pytest.mark.timeout(300)
@pytest.mark.fault("doorbells three times, stale ones replayed, garbage", "starts = attempts, 0 extra; worker lives")
def test_doubled_stale_and_senseless_doorbells_start_nothing(site, row, short):
    jobs = 60 if short else 400
    with site(worker_processes=3, slots=6) as running:
        worker = running.processes["worker"].pid
        over = threading.Event()

        def replay():
            while not over.is_set():
                ring_all(running, 3)

        replaying = threading.Thread(target=replay)
        replaying.start()
        try:
            running.submit(jobs, rate=20, params={"seconds": 0.1})
        finally:
            over.set()
            replaying.join()
        running.await_ends(jobs)
        wait_until("the queue is empty", lambda: running.servers.redis_cli("LLEN", queue_key(running)) == "0")
        running.kill_group("dispatcher")  # so that it rings nothing while the worker is stopped
        running.kill(worker, 19)
        ring_all(running, 1)
        for rubbish in garbage(running):
            running.servers.redis_cli("RPUSH", queue_key(running), rubbish)
        running.manage("shell", "-v", "0", "-c", NO_ATTEMPTS)
        running.kill(worker, 18)
        running.start_dispatcher()
        running.submit(20, prefix="after", params={"seconds": 0.05})
        running.await_ends(jobs + 20)
        alive = running.processes["worker"].poll() is None
        starts = running.history.count("started")
        attempts = int(running.one("SELECT count(*) FROM jobs_attempt"))
        row.seen = running.judge() | {"starts": starts, "attempts": attempts, "worker_lives": alive}
    assert NONE_LOST.items() <= row.seen.items()
    assert starts == attempts
    assert alive
