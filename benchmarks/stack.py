"""The real thing, running: a database of its own, worker, dispatcher and web server as processes. Used by tests too."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from jobsite.servers import api_command

ROOT = Path(__file__).parents[1]
PATIENCE = 60.0


def wait_until(what: str, holds: Callable[[], object], seconds: float = PATIENCE, pause: float = 0.05) -> None:
    """Wait for a condition; raises TimeoutError that names it."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError(f"{what}: not so after {seconds:g} s")
        time.sleep(pause)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def named(database: str) -> str:
    """The URL of a database on the server of DATABASE_URL."""
    parts = urlsplit(os.environ["DATABASE_URL"])
    return f"{parts.scheme}://{parts.netloc}/{database}" + (f"?{parts.query}" if parts.query else "")


def create(database: str, template: str = "template1") -> None:
    with psycopg.connect(named("postgres"), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {database} TEMPLATE {template}")


def drop(database: str) -> None:
    with psycopg.connect(named("postgres"), autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")


@contextmanager
def scratch_database() -> Iterator[str]:
    """The URL of a database that is dropped at the end."""
    database = f"scratch_{os.getpid()}_{time.monotonic_ns() % 10**9}"
    create(database)
    try:
        yield named(database)
    finally:
        drop(database)


def stopped(process: subprocess.Popen[bytes]) -> None:
    """By SIGTERM, and by force after a while."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Stack:
    """Jobsite's processes against the servers of DATABASE_URL and REDIS_URL, in a database that is dropped at the end."""

    def __init__(self, *, web: bool = False, api: bool = False, worker_processes: int = 2, slots: int = 5, **env: str) -> None:
        self.name = f"stack_{os.getpid()}_{time.monotonic_ns() % 10**9}"
        self.database_url = named(self.name)
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.api_port = free_port()
        self.api_address = f"http://127.0.0.1:{self.api_port}"
        self.env = os.environ | {
            "DATABASE_URL": self.database_url,
            "JOBSITE_REDIS_PREFIX": self.name,
            "JOB_MANAGER_MAX_CONCURRENT": str(slots),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        } | env  # fmt: skip
        self.env.pop("DJANGO_SETTINGS_MODULE", None)
        self._web, self._api, self._worker_processes = web, api, worker_processes
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.logs = Path(tempfile.mkdtemp(prefix="jobsite-logs-"))

    def __enter__(self) -> Stack:
        try:
            self.prepare()
            self.start_dispatcher()
            if self._worker_processes:
                self.start_worker()
            if self._web:
                self.start_web()
            if self._api:
                self.start_api()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def prepare(self) -> None:
        """Make the database."""
        create(self.name)
        self.manage("migrate", "--verbosity", "0")

    def manage(self, *arguments: str) -> str:
        """Run a management command; its output. Raises with the error output when it fails."""
        done = subprocess.run([sys.executable, "manage.py", *arguments], cwd=ROOT, env=self.env, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"manage.py {arguments[0]} failed ({done.returncode}): {done.stderr[-3000:]}")
        return done.stdout

    def start(self, name: str, command: Sequence[str]) -> None:
        with (self.logs / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                list(command), cwd=ROOT, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def start_dispatcher(self, name: str = "dispatcher") -> None:
        self.start(name, [sys.executable, "manage.py", "dispatcher"])

    def start_worker(self, name: str = "worker") -> None:
        celery = [sys.executable, "-m", "celery", "-A", "jobsite", "worker", "--concurrency", str(self._worker_processes)]
        self.start(name, [*celery, "--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"])
        wait_until(f"the {name} says that it is there", lambda: self.is_there(name))

    def is_there(self, name: str) -> bool:
        """Has this worker said hello, and not goodbye?"""
        pid = self.processes[name].pid
        return bool(self.one("SELECT count(*) FROM jobs_worker WHERE pid = %s AND stopped_at IS NULL", pid))

    def start_web(self) -> None:
        command = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(self.port), "jobsite.asgi:application"]
        self.start("web", command)
        wait_until("the web server answers", self.answers)

    def start_api(self) -> None:
        """The WSGI server for short API calls, as `up` starts it."""
        self.start("api", api_command("127.0.0.1", self.api_port))
        wait_until("the API server answers", lambda: self.answers(self.api_address))

    def answers(self, address: str = "") -> bool:
        try:
            with urllib.request.urlopen(f"{address or self.address}/healthz", timeout=5) as answer:  # noqa: S310  (our own address)
                return bool(answer.status == 200)
        except OSError:
            return False

    def query(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.database_url, autocommit=True) as link:
            return link.execute(sql, values or None).fetchall()  # type: ignore[call-overload, no-any-return]

    def one(self, sql: str, *values: object) -> object:
        return self.query(sql, *values)[0][0]

    def log(self, name: str) -> str:
        return (self.logs / f"{name}.log").read_text(errors="replace")

    def stop(self) -> None:
        """Stop by SIGTERM, the last started first, then drop the database."""
        for name in reversed(list(self.processes)):
            stopped(self.processes.pop(name))
        drop(self.name)
