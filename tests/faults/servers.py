"""PostgreSQL and Redis of one test's own, to be killed and started again at will."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import redis

from jobsite.embedded import Embedded, endpoints


class Servers:
    """Redis always; PostgreSQL where the fault is in it. Started from the main thread: they end with the thread they came from."""

    def __init__(self, *, postgres: bool, disk_mb: int | None = None) -> None:
        self.var = Path(tempfile.mkdtemp(prefix="jobsite-faults-"))
        self.var.chmod(0o755)  # PostgreSQL's own user passes through
        self.where = endpoints(self.var)
        self.redis_socket = self.where.sockets / "redis.sock"
        self._redis = Embedded(self.var, postgres=False)
        self._postgres = Embedded(self.var, redis=False) if postgres else None
        self._disk = self.var / "postgres" if disk_mb else None
        if self._disk is not None:
            # In memory; only root can. Raises CalledProcessError.
            self._disk.mkdir()
            mount = ["mount", "-t", "tmpfs", "-o", f"size={disk_mb}m,mode=0700", "tmpfs", str(self._disk)]
            subprocess.run(mount, check=True, capture_output=True)

    def start(self) -> None:
        self._redis.__enter__()
        if self._postgres is not None:
            self._postgres.__enter__()

    def stop(self) -> None:
        if self._postgres is not None:
            self._postgres.stop()
        self._redis.stop()
        if self._disk is not None:
            subprocess.run(["umount", "-l", str(self._disk)], check=True)
        shutil.rmtree(self.var, ignore_errors=True)

    def kill_redis(self) -> None:
        """It comes back empty: nothing of it is on disk."""
        process = self._redis.process("redis")
        process.kill()
        process.wait()
        self._redis.stop()

    def start_redis(self) -> None:
        self._redis.__enter__()

    def redis_pid(self) -> int:
        return self._redis.process("redis").pid

    def kill_postgres(self) -> None:
        """As `pg_ctl stop -m immediate`: no farewell to anybody; the log is replayed at the next start."""
        assert self._postgres is not None
        process = self._postgres.process("postgres")
        process.send_signal(signal.SIGQUIT)
        process.wait(30)
        self._postgres.stop()

    def postgres_ended(self) -> bool:
        assert self._postgres is not None
        return self._postgres.process("postgres").poll() is not None

    def fill_disk(self) -> None:
        """Until nothing more can be written."""
        assert self._disk is not None
        with contextlib.suppress(OSError), (self._disk / "filler").open("wb", buffering=0) as filler:
            while filler.write(b"x" * 65536):
                pass

    def free_disk(self) -> None:
        assert self._disk is not None
        (self._disk / "filler").unlink()

    def start_postgres(self) -> None:
        assert self._postgres is not None
        (self.var / "postgres" / "data" / "postmaster.pid").unlink(missing_ok=True)
        self._postgres.__enter__()

    def redis_cli(self, *command: str) -> str:
        """Ask Redis as an operator would; its answer as text."""
        with redis.Redis(unix_socket_path=str(self.redis_socket), socket_timeout=5) as link:
            answer = link.execute_command(*command)
            return answer.decode() if isinstance(answer, bytes) else str(answer)
