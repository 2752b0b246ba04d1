"""The same faults to Jobsite and to plain Celery with its safe switches, each with a Redis of its own of the same kind."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

import psutil

from benchmarks.form import Goal, Report
from benchmarks.stack import ROOT, wait_until
from benchmarks.throughput import PEERS
from tests.faults.servers import Servers
from tests.faults.site import Site

# Celery may take this long to deliver again what nobody acknowledged; more is waited for: nothing new for so long is the end.
VISIBILITY = 5
PATIENCE, SHORT_PATIENCE = 30.0, 8.0


class Subject(Protocol):
    """What is broken: `done` counts how often each job has come to an end that counts."""

    name: str
    servers: Servers

    def start_worker(self) -> object: ...
    def kill_worker(self) -> None: ...
    def worker_pid(self) -> int: ...
    def send(self, prefix: str, count: int, seconds: float) -> None: ...
    def armed(self, prefix: str) -> Callable[[], object]: ...  # ready to send one, at once when called
    def done(self) -> Counter[str]: ...


class Jobsite:
    name = "jobsite"

    def __init__(self, site: Site) -> None:
        self._site, self.servers = site, site.servers

    def start_worker(self) -> None:
        self._site.start_worker()

    def kill_worker(self) -> None:
        self._site.kill_group("worker")

    def worker_pid(self) -> int:
        return self._site.processes["worker"].pid

    def send(self, prefix: str, count: int, seconds: float) -> None:
        self._site.submit(count, prefix=prefix, params={"seconds": seconds})

    def armed(self, prefix: str) -> Callable[[], object]:
        return self._site.armed(prefix=prefix)

    def done(self) -> Counter[str]:
        rows = self._site.query(
            "SELECT task_id, (SELECT count(*) FROM jobs_event e WHERE e.job_id = j.id AND verb = 'finish') FROM jobs_job j"
        )
        return Counter({str(key): int(str(times)) for key, times in rows if times})


class Celery:
    """acks_late, reject_on_worker_lost, one message at a time, and a short visibility time-out: as safe as it gets."""

    name = "celery"

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self._marks = servers.var / "marks"
        self._env = os.environ | {
            "DATABASE_URL": "postgres://unused@localhost/unused",
            "REDIS_URL": servers.where.redis_url,
            "BENCH_PEER": "celery_safe",
            "BENCH_MARKS": str(self._marks),
            "BENCH_PREFIX": "peer:",
            "BENCH_VISIBILITY": str(VISIBILITY),
            "PYTHONPATH": str(ROOT),
        }
        self._env.pop("DJANGO_SETTINGS_MODULE", None)
        self._worker: subprocess.Popen[bytes] | None = None
        self._pings = 0

    def start_worker(self) -> None:
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
        command = [str(PEERS), "-m", "celery", "-A", "benchmarks.peers.app:celery", "worker", "--concurrency", "2", *quiet]
        with (self.servers.var / "celery.log").open("ab") as log:
            self._worker = subprocess.Popen(command, cwd=ROOT, env=self._env, stdout=log, stderr=log, start_new_session=True)
        self._pings += 1
        ping = f"ping{self._pings}"
        self.send(ping, 1, 0)
        wait_until("Celery's worker answers", lambda: self.done()[f"{ping}-0"])

    def kill_worker(self) -> None:
        assert self._worker is not None
        os.killpg(self._worker.pid, signal.SIGKILL)
        self._worker.wait()

    def worker_pid(self) -> int:
        assert self._worker is not None
        return self._worker.pid

    def send(self, prefix: str, count: int, seconds: float) -> None:
        command = [str(PEERS), "-m", "benchmarks.peers", "note", prefix, str(count), str(seconds)]
        subprocess.run(command, cwd=ROOT, env=self._env, check=True, capture_output=True, timeout=120)

    def armed(self, prefix: str) -> Callable[[], object]:
        command = [str(PEERS), "-m", "benchmarks.peers", "armed", prefix]
        sender = subprocess.Popen(command, cwd=ROOT, env=self._env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert sender.stdout is not None
        sender.stdout.readline()
        return lambda: sender.communicate(b"\n", timeout=30)

    def done(self) -> Counter[str]:
        return Counter(self._marks.read_text().split()) if self._marks.exists() else Counter()


# --- the faults ------------------------------------------------------------------------------------------------------
def idle_worker_killed(subject: Subject, prefix: str, rounds: int) -> int:
    """A message on its way to a worker that dies."""
    for number in range(rounds):
        send = subject.armed(f"{prefix}{number}")
        group = [psutil.Process(subject.worker_pid()), *psutil.Process(subject.worker_pid()).children(recursive=True)]
        for process in group:
            with contextlib.suppress(psutil.NoSuchProcess):  # one that has just been replaced
                process.suspend()
        send()
        time.sleep(1)
        subject.kill_worker()
        subject.start_worker()
    return rounds


def child_killed(subject: Subject, prefix: str, rounds: int) -> int:
    """The process that runs a job dies, again and again."""
    subject.send(prefix, 2 * rounds, 1.0)
    for _ in range(rounds):
        time.sleep(0.7)
        children = psutil.Process(subject.worker_pid()).children()
        if children:
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended by itself
                random.choice(children).kill()  # noqa: S311  (which one dies is no secret)
    return 2 * rounds


def broker_flushed(subject: Subject, prefix: str, rounds: int) -> int:
    """What is queued is gone."""
    subject.send(prefix, 5 * rounds, 0.3)
    subject.servers.redis_cli("FLUSHALL")
    return 5 * rounds


def broker_restarted(subject: Subject, prefix: str, rounds: int) -> int:
    """Killed, and back empty."""
    subject.send(prefix, 5 * rounds, 0.3)
    subject.servers.kill_redis()
    subject.servers.start_redis()
    return 5 * rounds


FAULTS: dict[str, Callable[[Subject, str, int], int]] = {
    "idle_worker_killed": idle_worker_killed,
    "child_killed": child_killed,
    "broker_flushed": broker_flushed,
    "broker_restarted": broker_restarted,
}


def measure(*, short: bool) -> Report:
    """Jobs sent, never done, and done more than once, after each fault."""
    rounds, patience = (1, SHORT_PATIENCE) if short else (20, PATIENCE)
    figures: dict[str, object] = {"rounds": rounds}
    with Site(worker_processes=2, slots=4) as site:
        _break(Jobsite(site), rounds, PATIENCE, figures)
    report = Report(name="celery_faults", figures=figures)
    report.notes = [
        f"Celery with acks_late, reject_on_worker_lost and a visibility time-out of {VISIBILITY} s",
        "twice: Jobsite's end that counts, Celery's task that ran to its end",
    ]
    report.goals = [Goal(figure=f"jobsite_{fault}_{what}", at_most=0) for fault in FAULTS for what in ("lost", "twice")]
    if not PEERS.exists():
        report.notes.append("no peers here: `make bench-setup` installs them")
        return report
    servers = Servers(postgres=False)
    servers.start()
    celery = Celery(servers)
    try:
        celery.start_worker()
        _break(celery, rounds, patience, figures)
    finally:
        celery.kill_worker()
        servers.stop()
    return report


def _break(subject: Subject, rounds: int, patience: float, figures: dict[str, object]) -> None:
    for fault, inflict in FAULTS.items():
        prefix = fault.replace("_", "")
        sent = inflict(subject, prefix, rounds)
        done = _settled(subject, prefix, sent, patience)
        figures[f"{subject.name}_{fault}_sent"] = sent
        figures[f"{subject.name}_{fault}_lost"] = sent - len(done)
        figures[f"{subject.name}_{fault}_twice"] = sum(times > 1 for times in done.values())


def _settled(subject: Subject, prefix: str, sent: int, patience: float) -> Counter[str]:
    """What was done, once all is, or nothing more has come for a while."""
    done, changed = Counter[str](), time.monotonic()
    while len(done) < sent and time.monotonic() - changed < patience:
        time.sleep(0.2)
        now = Counter({key: times for key, times in subject.done().items() if key.startswith(prefix)})
        if now != done:
            done, changed = now, time.monotonic()
    return done
