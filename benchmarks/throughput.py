"""How many no-op jobs a second, with the full record of each, beside peers on the same servers in the same run."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.form import Goal, Report
from benchmarks.progress import run_jobs
from benchmarks.stack import ROOT, Stack, scratch_database, stopped

PEERS = ROOT / ".venv-peers" / "bin" / "python"
WORKERS = 2
SLOTS = 32


def measure(*, short: bool) -> Report:
    """Jobs a second from the first submit to the last end: 2 worker processes, at most 32 jobs at once."""
    count, rounds = (100, 1) if short else (1000, 5)
    figures: dict[str, object] = {"jobs": count}
    notes = [f"the median of {rounds} turns, the peers between ours"]
    names = ["celery", "celery_results", "procrastinate", "tasks_db"] if PEERS.exists() else []
    if not names:
        notes.append("no peers here: `make bench-setup` installs them")
    seen: dict[str, list[float]] = {name: [] for name in ["jobsite", *names]}
    for _ in range(rounds):
        seen["jobsite"].append(ours(count))
        for name in names:
            seen[name].append(peer(name, count))
    figures |= {f"{name}_jobs_a_second": sorted(values)[len(values) // 2] for name, values in seen.items()}
    own = figures["jobsite_jobs_a_second"]
    figures |= {f"times_{name}": own / figures[f"{name}_jobs_a_second"] for name in names}  # type: ignore[operator]
    goals = [Goal(figure="times_celery", at_least=1.0), Goal(figure="times_celery_results", at_least=2.4)] if names else []
    goals += [Goal(figure="times_procrastinate", at_least=1.0)] if names else []
    return Report(name="throughput", figures=figures, goals=goals, notes=notes)


def ours(count: int) -> float:
    with (
        tempfile.TemporaryDirectory(prefix="jobsite-own-") as folder,
        Stack(
            worker_processes=WORKERS, slots=SLOTS, JOBSITE_TOOLS="benchmarks.tools", BENCH_MARKS=str(Path(folder) / "marks")
        ) as stack,
    ):
        run_jobs(stack, "bench.noop", {}, 2 * WORKERS)  # every process has answered once
        answer = run_jobs(stack, "bench.noop", {}, count)
        if answer["completed"] != count:
            raise RuntimeError(f"only {answer['completed']} of {count} jobs completed: {stack.log('worker')[-2000:]}")
        return count / float(str(answer["whole_s"]))


def peer(name: str, count: int) -> float:
    with tempfile.TemporaryDirectory(prefix="jobsite-peer-") as folder, scratch_database() as database:
        marks = Path(folder) / "marks"
        env = os.environ | {
            "DATABASE_URL": database,
            "BENCH_PEER": name,
            "BENCH_MARKS": str(marks),
            "BENCH_PREFIX": f"peer{time.monotonic_ns()}:",
            "PYTHONPATH": str(ROOT),
        }
        env.pop("DJANGO_SETTINGS_MODULE", None)
        _run(env, "migrate")
        with _workers(name, env, Path(folder)):
            _run(env, "send", str(2 * WORKERS))  # every process has answered once
            marks.unlink()
            _, whole = _run(env, "send", str(count)).split()
    return count / float(whole)


def _run(env: dict[str, str], *arguments: str) -> str:
    command = [str(PEERS), "-m", "benchmarks.peers", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"{env['BENCH_PEER']} {arguments[0]}: {done.stderr[-3000:]}")
    return done.stdout


@contextmanager
def _workers(name: str, env: dict[str, str], folder: Path) -> Iterator[None]:
    with (folder / "log").open("ab") as log:
        started = [
            subprocess.Popen([str(PEERS), "-m", *command], cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True)
            for command in _commands(name)
        ]
    try:
        yield
    finally:
        for process in started:
            stopped(process)


def _commands(name: str) -> Sequence[Sequence[str]]:
    if name.startswith("celery"):
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
        return [["celery", "-A", "benchmarks.peers.app:celery", "worker", "--concurrency", str(WORKERS), *quiet]]
    return [["benchmarks.peers", "worker"]] * WORKERS
