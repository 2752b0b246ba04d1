"""The dispatcher that leads is killed, hangs, or is cut off; another takes over and no limit is exceeded."""

import signal
import time

import pytest

from benchmarks.stack import wait_until
from tests.faults.test_workers import NONE_LOST

ADMITTED_AFTER = "SELECT EXTRACT(EPOCH FROM min(admitted_at))::float8 FROM jobs_attempt WHERE admitted_at > to_timestamp(%s)"


def leads(running, name):
    return running.log(name).count("this dispatcher leads")


def taken_over(running, broken_at):
    """Seconds until somebody admitted again."""
    wait_until("somebody admits", lambda: running.one(ADMITTED_AFTER, broken_at), 30)
    return float(running.one(ADMITTED_AFTER, broken_at)) - broken_at


@pytest.mark.alone
@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["killed", "stopped"])
@pytest.mark.fault("dispatcher", "takeover <= 5 s, limits never exceeded")
def test_another_dispatcher_takes_over(site, row, short, how):
    row.fault = f"leading dispatcher {how}"
    rounds, jobs = (1, 56) if short else (6, 480)
    with site(worker_processes=4, slots=4, LOG_LEVEL="INFO") as running:
        wait_until("it leads", lambda: leads(running, "dispatcher"))
        leader, standby = "dispatcher", "standby"
        running.submitting(jobs, rate=8, params={"seconds": 0.1})
        times = []
        for number in range(rounds):
            before = leads(running, standby) if number else 0
            if standby not in running.processes:
                running.start_dispatcher(standby)
            time.sleep(4)  # it stands by
            at = time.time()
            running.kill(running.processes[leader].pid, signal.SIGKILL if how == "killed" else signal.SIGSTOP)
            wait_until("the other leads", lambda before=before, standby=standby: leads(running, standby) > before, 30)
            times.append(taken_over(running, at))
            running.say(f"round {number + 1} of {rounds}: {leader} {how}, {standby} admits after {times[-1]:.1f} s")
            if how == "killed":
                running.processes.pop(leader).wait()
            else:
                running.kill(running.processes[leader].pid, signal.SIGCONT)
            leader, standby = standby, leader
        running.await_clients()
        running.await_ends(jobs)
        row.seen = running.judge() | {"rounds": rounds, "takeover_max_s": round(max(times), 2)}
    assert NONE_LOST.items() <= row.seen.items()
    assert row.seen["takeover_max_s"] <= 5
