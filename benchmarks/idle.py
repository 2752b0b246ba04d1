"""What a system costs that has nothing to do: the dispatcher, and everything that `up` starts."""

from __future__ import annotations

import sys
import time

import psutil

from benchmarks.form import Goal, Report
from benchmarks.stack import Stack, wait_until

# After a start there is still something to do: caches, first figures.
SETTLING = 5.0


def measure(*, short: bool) -> Report:
    """CPU time over a minute in percent of one core, all descendants included; and that of this database's connections."""
    seconds = 5.0 if short else 60.0
    with Stack(web=True, api=True, worker_processes=2) as stack:
        stack.start("events", [sys.executable, "manage.py", "events"])
        wait_until("the events process says that it leads", lambda: _leaders(stack) == 2)
        time.sleep(SETTLING)
        processes = {name: _tree(process.pid) for name, process in stack.processes.items()}
        processes["database"] = [psutil.Process(int(str(pid))) for (pid,) in stack.query(_BACKENDS)]
        before = {name: _spent(tree) for name, tree in processes.items()}
        began = time.monotonic()
        time.sleep(seconds)
        elapsed = time.monotonic() - began
        percent = {name: round(100 * (_spent(tree) - before[name]) / elapsed, 2) for name, tree in processes.items()}
    report = Report(name="idle", figures={f"{name}_percent": value for name, value in percent.items()})
    report.figures["whole_percent"] = round(sum(percent.values()), 2)
    report.goals = [Goal(figure="dispatcher_percent", at_most=1)]
    report.notes.append("of one core; database: what its connections cost that these processes hold")
    return report


_BACKENDS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def _leaders(stack: Stack) -> object:
    """The dispatcher and the events process hold one lock each."""
    return stack.one(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )


def _tree(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _spent(tree: list[psutil.Process]) -> float:
    """Seconds of CPU."""
    return sum(times.user + times.system for times in (process.cpu_times() for process in tree))
