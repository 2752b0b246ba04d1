"""The site under test: the real processes with the profile of the fault suite, servers of its own, and a judgement at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import psutil
import psycopg
from psycopg.rows import dict_row

from benchmarks.stack import ROOT, Stack, create, named, wait_until
from tests.faults import invariants
from tests.faults.history import VARIABLE, History
from tests.faults.servers import Servers

SHORT = os.environ.get("FAULTS_SHORT") == "1"
# The short form waits less for what is lost; a beat may come as late as in the long one before anything is, but for a second.
LEASE, BEAT, SWEEP, START_TIMEOUT = (4.5, 0.9, 0.5, 2.0) if SHORT else (6.0, 1.5, 1.0, 3.0)
PROFILE = {
    "JOBSITE_LEASE": str(LEASE),
    "JOBSITE_BEAT": str(BEAT),
    "JOBSITE_SWEEP": str(SWEEP),
    "JOBSITE_START_TIMEOUT": str(START_TIMEOUT),
    "JOBSITE_SESSION_CHECK": "10" if SHORT else "30",
    "JOBSITE_TOOLS": "tests.faults.faulttools",
    "JOB_MANAGER_MAX_MEMORY_MB": "100000",
    "JOB_MANAGER_MAX_CPU_WEIGHT": "10000",
    "LOG_LEVEL": "WARNING",
}
TEMPLATE = f"faults_template_{os.getpid()}"


class Site(Stack):
    """With its own Redis always, its own PostgreSQL where the fault is in it."""

    def __init__(self, *, postgres: bool = False, disk_mb: int | None = None, **rest: Any) -> None:
        self.servers = Servers(postgres=postgres, disk_mb=disk_mb)
        self.servers.start()
        super().__init__(**(PROFILE | rest))
        self.slots = int(self.env["JOB_MANAGER_MAX_CONCURRENT"])
        self._own_postgres = postgres
        if postgres:
            self.database_url = self.servers.where.database_url
        self.history = History(self.logs / "history")
        self.env |= {
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.servers.where.redis_url,
            "JOBSITE_VAR": str(self.servers.var),
            VARIABLE: str(self.history.path),
        }
        self._began = time.monotonic()
        self._clients: list[subprocess.Popen[bytes]] = []

    def prepare(self) -> None:
        """Migrated once a session; each test copies that. Servers of its own are migrated anew."""
        if self._own_postgres:
            self.manage("migrate", "--verbosity", "0")
            return
        with psycopg.connect(named("postgres"), autocommit=True) as server:
            there = server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [TEMPLATE]).fetchone()
        if there is None:
            create(TEMPLATE)
            subprocess.run(
                [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
                cwd=ROOT, env=self.env | {"DATABASE_URL": named(TEMPLATE)}, check=True,
            )  # fmt: skip
        create(self.name, TEMPLATE)

    # --- load ----------------------------------------------------------------------------------------------------------
    def submit(self, count: int, tool: str = "fault.work", rate: float = 0.0, prefix: str = "job", **wanted: Any) -> None:
        """From a client's process, waited for."""
        self.submitting(count, tool, rate, prefix, **wanted)
        self.await_clients()

    def submitting(self, count: int, tool: str = "fault.work", rate: float = 0.0, prefix: str = "job", **wanted: Any) -> None:
        """The same, going on beside the test. `wanted`: as for a Submission; params apart are those of the tool."""
        before = self._answers()
        client = self._client(["--count", str(count), "--rate", str(rate), "--prefix", prefix], tool, wanted)
        wait_until("the client gets answers", lambda: self._answers() > before or client.poll())
        assert not client.poll(), self.log("client")[-3000:]

    def armed(self, tool: str = "fault.work", prefix: str = "job", **wanted: Any) -> Callable[[], None]:
        """A client that is ready to submit one job, and does so within milliseconds when this is called."""
        before = self.history.count("armed")
        client = self._client(["--count", "1", "--prefix", prefix, "--armed"], tool, wanted)
        wait_until("the client is ready", lambda: self.history.count("armed") > before)

        def fire() -> None:
            assert client.stdin is not None
            client.stdin.write(b"\n")
            client.stdin.close()
            self.await_clients()

        return fire

    def _client(self, options: list[str], tool: str, wanted: dict[str, Any]) -> subprocess.Popen[bytes]:
        asked = json.dumps({"tool": tool, "params": wanted.pop("params", {}), **wanted})
        command = [sys.executable, "-m", "tests.faults.client", *options, "--wanted", asked]
        env = self.env | {"DJANGO_SETTINGS_MODULE": "jobsite.settings"}
        stdin = subprocess.PIPE if "--armed" in options else subprocess.DEVNULL
        with (self.logs / "client.log").open("ab") as log:
            self._clients.append(subprocess.Popen(command, cwd=ROOT, env=env, stdin=stdin, stdout=log, stderr=log))
        return self._clients[-1]

    def _answers(self) -> int:
        return len(self.history.entries("acknowledged", "unknown"))

    def await_clients(self, seconds: float = 300) -> None:
        for client in self._clients:
            assert client.wait(seconds) == 0, self.log("client")[-3000:]
        self._clients.clear()

    def ended(self) -> int:
        return int(str(self.one("SELECT count(*) FROM jobs_job WHERE finished_at IS NOT NULL OR gate = 'quarantined'")))

    def await_ends(self, count: int, seconds: float = 120) -> None:
        """Until so many jobs have come to their end; says how far it is."""
        until, said = time.monotonic() + seconds, 0.0
        while (done := self.ended()) < count:
            if time.monotonic() > until:
                raise TimeoutError(f"{done} of {count} jobs ended within {seconds:g} s: {self.states()}")
            if time.monotonic() - said > 5:
                said = time.monotonic()
                self.say(f"{done} of {count} ended; {self.states()}")
            time.sleep(0.1)

    def states(self) -> dict[str, int]:
        return {str(status): int(str(n)) for status, n in self.query("SELECT status, count(*) FROM jobs_job GROUP BY 1 ORDER BY 1")}

    def say(self, text: str) -> None:
        print(f"  {time.monotonic() - self._began:6.1f} s  {text}", file=sys.stderr, flush=True)

    # --- faults --------------------------------------------------------------------------------------------------------
    def running(self) -> list[tuple[int, str, int]]:
        """(attempt, job, pid) of what runs, by the database."""
        rows = self.query("SELECT id, job_id, pid FROM jobs_attempt WHERE state = 'running' ORDER BY id")
        return [(int(str(attempt)), str(job), int(str(pid))) for attempt, job, pid in rows]

    def kill(self, pid: int, number: int = signal.SIGKILL, **told: Any) -> bool:
        """False when it had gone already."""
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        self.history.note("signalled", pid=pid, signal=int(number), **told)
        return True

    def kill_group(self, name: str) -> None:
        """The process and all its children, at once."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.history.note("group killed", name=name)

    def children(self, name: str) -> list[psutil.Process]:
        return psutil.Process(self.processes[name].pid).children(recursive=True)

    # --- judgement -----------------------------------------------------------------------------------------------------
    def ask(self, sql: str) -> list[dict[str, Any]]:
        with psycopg.connect(self.database_url, autocommit=True, row_factory=dict_row) as link:
            return link.execute(sql).fetchall()  # type: ignore[call-overload]

    def facts(self, *, settled: bool = True) -> invariants.Facts:
        return invariants.facts(self.ask, history=self.history.entries(), slots=self.slots, settled=settled)

    def judge(self) -> dict[str, Any]:
        """Lost, stuck, accepted twice; raises when any invariant is broken."""
        seen = self.facts()
        wrong = invariants.broken(seen)
        if wrong:
            logs = "\n".join(
                f"--- {path.name}\n{path.read_text(errors='replace')[-1500:]}" for path in sorted(self.logs.glob("*.log"))
            )
            raise AssertionError("\n".join([*wrong[:20], f"({len(wrong)} in all)", logs]))
        return self.losses(seen)

    @staticmethod
    def losses(seen: invariants.Facts) -> dict[str, Any]:
        known = {job["id"]: job["status"] for job in seen.jobs}
        held = {job["id"] for job in seen.jobs if job["gate"] == "quarantined"}
        finishes = [event["job_id"] for event in seen.events if event["verb"] == "finish"]
        return {
            "jobs": len(known),
            "lost": sum(entry["job"] not in known for entry in seen.noted("acknowledged")),
            "stuck": sum(status not in invariants.FINAL and job not in held for job, status in known.items()),
            "twice": len(finishes) - len(set(finishes)),
        }

    def stop(self) -> None:
        for client in self._clients:
            client.kill()
            client.wait()
        for name in reversed(list(self.processes)):
            self._stop_process(name)
        left = self._left_over()
        for process in left:
            process.kill()
        if not self._own_postgres:
            super().stop()
        self.servers.stop()
        if left:
            raise AssertionError(f"left running when all was stopped: {[process.cmdline() for process in left]}")

    def _stop_process(self, name: str) -> None:
        """A stopped (SIGSTOP) one is continued, so that it can obey."""
        process = self.processes.pop(name)
        for number in (signal.SIGCONT, signal.SIGTERM):
            if process.poll() is None:
                os.kill(process.pid, number)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _left_over(self) -> list[psutil.Process]:
        """12: processes of this site that outlived it, known by what their environment holds."""
        psutil.wait_procs(self.ours(), timeout=10)
        return self.ours()

    def ours(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(VARIABLE) == str(self.history.path) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue  # gone meanwhile, or not ours to look into
        return found


__all__ = ["Site", "wait_until"]
