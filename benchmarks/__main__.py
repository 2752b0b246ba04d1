"""`python -m benchmarks [NAME|all] [--short]`."""

from __future__ import annotations

import argparse
import os
import tempfile
from importlib import import_module
from pathlib import Path

from jobsite.embedded import Embedded, endpoints

NAMES = {
    "admission": "a round of the dispatcher with 100,000 and 1,000,000 jobs pending",
    "idle": "CPU of the dispatcher, and of all processes, when there is nothing to do",
    "throughput": "no-op jobs a second, beside Celery, Celery with results, procrastinate and django-tasks-db",
    "celery_faults": "what is lost when workers and Redis are killed, beside plain Celery with its safe switches",
    "submit": "jobs handed in over HTTP, beside Flower; a bulk of a thousand",
    "poll": "what a poll costs, and a thousand clients that wait",
    "retention": "rounds of the dispatcher while 1,000,000 old jobs are removed",
    "progress": "what job.progress() costs a tool in a tight loop",
    "list": "server time and queries of every page with 1,000,000 jobs",
    "sockets": "a thousand live sockets on one web process: delay, loss, memory, slow clients",
    "live": "from job.progress() in a worker to the changed page in a real Chromium",
    "graph": "what the graph of a workflow with a thousand jobs costs the page while it changes",
    "flower": "beside Flower on the same Celery work: its list, its memory, how soon a change is seen",
    "latency": "from submit to start on an idle system, and from an end to the start that waited for its slot",
    "replay": "a recorded workflow replayed, against its lower bound",
    "workflows": "every recorded workflow replayed: bounds, order and memory",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("name", nargs="?", choices=[*NAMES, "all"], help="which one; without it they are listed")
    parser.add_argument("--short", action="store_true", help="a short form: shows that it works, its figures mean little")
    options = parser.parse_args()
    if options.name is None:
        for name, about in NAMES.items():
            print(f"{name:<14} {about}")
        return 0
    chosen = list(NAMES) if options.name == "all" else [options.name]
    with tempfile.TemporaryDirectory(prefix="jobsite-bench-") as folder, Embedded(Path(folder)):
        where = endpoints(Path(folder))
        os.environ |= {"DATABASE_URL": where.database_url, "REDIS_URL": where.redis_url, "JOBSITE_VAR": folder}
        reports = [import_module(f"benchmarks.{name}").measure(short=options.short) for name in chosen]
    for report in reports:
        report.show()
    # The short form only shows that nothing has rotted; its figures are not held against the goals.
    return 0 if options.short or all(report.holds for report in reports) else 1


if __name__ == "__main__":
    raise SystemExit(main())
