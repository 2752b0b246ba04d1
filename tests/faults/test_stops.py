"""Processes are told to stop: by signals at any moment, and in deploys under load."""

import os
import random
import signal
import time

import pytest

from benchmarks.stack import wait_until
from tests.faults.site import LEASE, SWEEP
from tests.faults.test_workers import NONE_LOST

ORPHANS = "SELECT count(*) FROM jobs_attempt WHERE state = 'running' AND lease_until < now() - make_interval(secs => 2)"
BY_SIGNAL = "SELECT count(*) FROM jobs_attempt WHERE state = 'failed' AND error_class = 'SystemExit'"


def signal_somebody(running):
    """TERM or QUIT, to a child mostly, now and then to the worker itself, which is then started anew."""
    worker = running.processes["worker"]
    children = running.children("worker") if worker.poll() is None else []
    number = random.choice([signal.SIGTERM, signal.SIGQUIT])
    if children and random.random() > 0.01:
        return running.kill(random.choice(children).pid, number)
    running.kill(worker.pid, number)
    worker.wait(60)
    running.start_worker()
    return True


@pytest.mark.timeout(900)
@pytest.mark.fault("SIGTERM or SIGQUIT during claim and finish", "no row running without an owner after lease + sweep; 0/0/0")
def test_a_signal_at_any_moment_leaves_no_row_without_an_owner(site, row, short):
    signals = 60 if short else 1000
    with site(worker_processes=6, slots=10, JOBSITE_GRACE="1") as running:
        running.submitting(signals, rate=12, params={"seconds": 0.04})
        sent, most = 0, 0
        while sent < signals:
            sent += signal_somebody(running)
            most = max(most, int(running.one(ORPHANS)))
            time.sleep(random.uniform(0, 0.1))
            if sent % 50 == 0:
                running.say(f"{sent} of {signals} signals; {running.states()}")
        running.await_clients()
        running.await_ends(signals)
        time.sleep(LEASE + SWEEP)
        row.seen = running.judge() | {
            "signals": sent,
            "ownerless": max(most, int(running.one(ORPHANS))),
            "failed_by_a_signal": int(running.one(BY_SIGNAL)),
        }
    assert NONE_LOST.items() <= row.seen.items()
    assert row.seen["ownerless"] == 0
    assert row.seen["failed_by_a_signal"] == 0


@pytest.mark.timeout(600)
@pytest.mark.parametrize("whole_group", [False, True], ids=["worker", "group"])
@pytest.mark.fault("graceful deploy under load", "0 lost; interrupted jobs resume without spending a retry")
def test_a_rolling_restart_of_workers_under_load_loses_nothing(site, row, short, whole_group):
    """By SIGTERM to the worker, or to it and its children at once, as some process managers do."""
    row.fault += " (SIGTERM to the whole group)" if whole_group else ""
    rounds = 5 if not short else 1 if whole_group else 2
    with site(worker_processes=3, slots=6, JOBSITE_GRACE="2") as running:
        running.submitting(rounds * 30, rate=5, params={"seconds": 0.3})
        running.submit(3, tool="fault.stops", prefix="long", params={"seconds": 60})
        wait_until(
            "long ones run",
            lambda: running.one("SELECT count(*) FROM jobs_job WHERE tool = 'fault.stops' AND status = 'running'") == 3,
        )
        seconds = []
        for number in range(rounds):
            running.processes["old"] = running.processes.pop("worker")
            running.start_worker()
            began = time.monotonic()
            (os.killpg if whole_group else os.kill)(running.processes["old"].pid, signal.SIGTERM)
            running.processes.pop("old").wait(60)
            seconds.append(time.monotonic() - began)
            running.say(f"deploy {number + 1} of {rounds}: the old worker was gone after {seconds[-1]:.1f} s")
            time.sleep(1)
        running.await_clients()
        running.await_ends(rounds * 30 + 3)
        spent = running.query("SELECT COALESCE(sum(retry_count), 0), COALESCE(sum(loss_count), 0) FROM jobs_job")[0]
        states = dict(running.query("SELECT state, count(*) FROM jobs_attempt GROUP BY 1"))
        row.seen = running.judge() | {
            "deploys": rounds,
            "interrupted": int(states.get("interrupted", 0)),
            "attempts_lost": int(states.get("lost", 0)),
            "retries_spent": int(spent[0]),
            "completed": int(running.one("SELECT count(*) FROM jobs_job WHERE status = 'completed'")),
            "old_gone_after_max_s": round(max(seconds), 1),
        }
    assert NONE_LOST.items() <= row.seen.items()
    assert row.seen["interrupted"] >= 3
    assert row.seen["attempts_lost"] == row.seen["retries_spent"] == 0
    assert row.seen["completed"] == row.seen["jobs"]


@pytest.mark.timeout(300)
@pytest.mark.fault("every process stopped by SIGTERM and started anew", "0/0/0; nothing left running")
def test_everything_stopped_and_started_anew_goes_on(site, row):
    with site(worker_processes=3, slots=6, JOBSITE_GRACE="1") as running:
        running.submit(60, params={"seconds": 0.3})
        wait_until("some have ended", lambda: running.ended() > 5)
        for name in ("worker", "dispatcher"):
            running.processes[name].terminate()
        for name in ("worker", "dispatcher"):
            running.processes.pop(name).wait(60)
        left = running.ours()
        began = time.monotonic()
        running.start_dispatcher()
        running.start_worker()
        running.await_ends(60)
        row.seen = running.judge() | {"left_running": len(left), "all_done_after_s": round(time.monotonic() - began, 1)}
    assert NONE_LOST.items() <= row.seen.items()
    assert left == []
