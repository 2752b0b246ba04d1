"""Workers and the processes that run jobs are killed, stopped, continued."""

import random
import signal
import time

import pytest

from benchmarks.stack import wait_until
from tests.faults.figures import percentile
from tests.faults.site import LEASE

NONE_LOST = {"lost": 0, "stuck": 0, "twice": 0}


def started_again_after(history):
    """Seconds from each kill of a running child to the next start of its job."""
    waits = []
    for killed in history.entries("signalled"):
        if "job" in killed:
            again = [e["at"] for e in history.entries("started") if e["job"] == killed["job"] and e["attempt"] > killed["attempt"]]
            if again:
                waits.append(min(again) - killed["at"])
    return waits


@pytest.mark.alone
@pytest.mark.timeout(400)
@pytest.mark.fault("running child killed -9", "0/0/0; started again p99 <= 8 s; recorded as lost")
def test_a_job_whose_process_is_killed_starts_again_within_eight_seconds(site, row, short):
    count, rate = (20, 2.0) if short else (100, 1.0)
    # As many processes as slots, and slack: what is measured is the rescue, not a queue.
    with site(worker_processes=16, slots=16) as running:
        running.submitting(count, rate=rate, params={"seconds": 2.5})
        killed: dict[str, int] = {}
        due: dict[str, float] = {}  # of each job, when it is killed: a random moment of its run
        while len(killed) < count and running.ended() < count:
            for attempt, job, pid in running.running():
                moment = due.setdefault(job, time.monotonic() + random.uniform(0, 2.0))
                if job not in killed and time.monotonic() >= moment and running.kill(pid, job=job, attempt=attempt):
                    killed[job] = attempt
            time.sleep(0.05)
        running.await_clients()
        running.await_ends(count)
        waits = started_again_after(running.history)
        lost = int(running.one("SELECT count(*) FROM jobs_attempt WHERE state = 'lost'"))
        row.seen = running.judge() | {
            "killed": len(killed),
            "recorded_as_lost": lost,
            "again_p50_s": percentile(waits, 50),
            "again_p99_s": percentile(waits, 99),
        }
    assert NONE_LOST.items() <= row.seen.items()
    assert len(killed) >= count * 0.8
    assert lost >= len(waits) >= 0.9 * len(killed)
    assert row.seen["again_p99_s"] <= 8


@pytest.mark.timeout(400)
@pytest.mark.fault("whole worker group killed every 3 s", "0/0/0")
def test_a_worker_whose_whole_group_is_killed_again_and_again_loses_nothing(site, row, short):
    count, rounds = (40, 2) if short else (500, 20)
    with site(worker_processes=4, slots=8) as running:
        running.submitting(count, rate=count / (rounds * 3), params={"seconds": 0.3})
        for _ in range(rounds):
            time.sleep(3)
            running.kill_group("worker")
            running.start_worker()
        running.await_clients()
        running.await_ends(count, 180)
        row.seen = running.judge() | {"kills": rounds}
    assert NONE_LOST.items() <= row.seen.items()


@pytest.mark.timeout(400)
@pytest.mark.fault("idle worker stopped, submit, killed", "0 lost")
def test_a_doorbell_that_dies_with_its_worker_is_rung_again(site, row, short):
    rounds = 3 if short else 20
    waits = []
    with site(worker_processes=1, slots=4) as running:
        for number in range(rounds):
            wait_until("the worker is idle", lambda: not running.running())
            submit = running.armed(prefix=f"round{number}")
            group = running.processes["worker"].pid
            for child in [group, *(process.pid for process in running.children("worker"))]:
                running.kill(child, signal.SIGSTOP)
            submit()  # at once: the worker has asked Redis for a message, and gets it while it is stopped
            # With a doorbell lying there already, none is rung for it: whoever takes that one takes this attempt too.
            wait_until("it is admitted", lambda: running.one("SELECT count(*) FROM jobs_attempt WHERE state = 'admitted'"))
            time.sleep(0.2)  # on its way to the stopped worker
            running.kill_group("worker")
            began = time.monotonic()
            running.start_worker()
            running.await_ends(number + 1, 60)
            waits.append(time.monotonic() - began)
            running.say(f"round {number + 1} of {rounds}: done {waits[-1]:.1f} s after the worker was started anew")
        row.seen = running.judge() | {"rounds": rounds, "done_after_new_start_max_s": round(max(waits), 2)}
    assert NONE_LOST.items() <= row.seen.items()


@pytest.mark.timeout(200)
@pytest.mark.fault("running child stopped past its lease, retaken, continued", "its late writes are refused, 0 accepted")
def test_a_process_that_wakes_up_after_its_job_was_retaken_changes_nothing(site, row, short):
    with site(worker_processes=2, slots=2) as running:
        running.submit(1, tool="fault.zombie", params={"seconds": 4})
        wait_until("it runs", running.running)
        ((attempt, _, pid),) = running.running()
        wait_until("its tool runs", lambda: running.history.count("started"))
        running.kill(pid, signal.SIGSTOP)
        wait_until("another attempt runs", lambda: [a for a, _, _ in running.running() if a != attempt], 30)
        running.kill(pid, signal.SIGCONT)
        running.await_ends(1, 60)
        wait_until("the late one has come to its end too", lambda: running.history.count("ended") == 2, LEASE + 20)
        # What it tried to write was written by nobody: its attempt is still the lost one, the result is the other's.
        wait_until("it can be called for the next job", lambda: not running.running())
        running.submit(4, prefix="after")
        running.await_ends(5, 60)
        late = running.query("SELECT state FROM jobs_attempt WHERE id = %s", attempt)[0][0]
        row.seen = running.judge() | {"late_attempt": late, "accepted_of_late": int(late != "lost")}
    assert NONE_LOST.items() <= row.seen.items()
    assert row.seen["accepted_of_late"] == 0
