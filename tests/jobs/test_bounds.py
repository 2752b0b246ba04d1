"""What does not grow without bound: connections of a web process, memory of a worker's processes. Real processes."""

import threading
import time
import urllib.request

import psutil
import pytest

from benchmarks.stack import Stack, stopped, wait_until

# Of the pool of a web process (JOBSITE_DB_POOL).
POOL = 12


def connections(stack):
    return stack.one("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")


@pytest.mark.timeout(300)
def test_a_web_process_opens_no_more_connections_than_its_pool_has_however_many_ask():
    with Stack(web=True, worker_processes=0) as stack:
        token = stack.manage("token", "create", "--name", "many", "--scope", "jobs:read").split()[-1]
        asking = urllib.request.Request(f"{stack.address}/api/v1/jobs", headers={"Authorization": f"Bearer {token}"})  # noqa: S310
        statuses: list[int] = []

        def ask():
            for _ in range(5):
                with urllib.request.urlopen(asking, timeout=60) as answer:  # noqa: S310  (our own address)
                    statuses.append(answer.status)

        stopped(stack.processes.pop("dispatcher"))  # it has connections of its own
        callers = [threading.Thread(target=ask) for _ in range(100)]
        for caller in callers:
            caller.start()
        most = 0
        while any(caller.is_alive() for caller in callers):
            most = max(most, connections(stack))
            time.sleep(0.05)
        assert statuses == [200] * 500
        assert 0 < most <= POOL


@pytest.mark.timeout(300)
def test_a_process_that_has_grown_too_large_is_replaced_between_two_jobs():
    env = {"JOBSITE_TOOLS": "tests.jobs.partialtools", "JOBSITE_STAY": "0", "JOBSITE_CHILD_MEMORY_MB": "300"}
    with Stack(worker_processes=1, slots=1, **env) as stack:

        def ran_in(job, megabytes):
            wanted = f"lifecycle.Submission(id={job!r}, tool='partial.leak', params={{'megabytes': {megabytes}}})"
            stack.manage("shell", "-v", "0", "-c", f"from jobs import lifecycle\nlifecycle.submit({wanted}, by='t')")
            wait_until(f"{job} is done", lambda: stack.one("SELECT status = 'completed' FROM jobs_job WHERE id = %s", job))
            return stack.one("SELECT pid FROM jobs_attempt WHERE job_id = %s", job)

        small, again = ran_in("small", 1), ran_in("again", 1)
        assert small == again
        large = ran_in("large", 400)
        assert large == small
        wait_until("the large process is gone", lambda: not psutil.pid_exists(large))
        assert ran_in("after", 1) != large
        assert stack.one("SELECT count(*) FROM jobs_attempt WHERE state <> 'succeeded'") == 0
