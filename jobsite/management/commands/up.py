"""`manage.py up`: everything that Jobsite needs, started by one command and stopped by Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from jobs.builtin.first_run import submit_first_work
from jobsite.embedded import Embedded, EmbeddedError, only_one
from jobsite.processes import Processes
from jobsite.servers import api_command, web_command

ADMINISTRATOR = "admin"


class Command(BaseCommand):
    help = "Start Jobsite: database, Redis, web servers, worker and dispatcher. HOST, PORT, API_PORT come from the environment."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        host = os.environ.get("HOST") or "127.0.0.1"
        port = int(os.environ.get("PORT") or 8000)
        address = f"http://{host}:{port}/"
        signal.signal(signal.SIGTERM, _interrupt)
        try:
            with only_one(settings.VAR, address):
                _refuse_taken(host, port)
                with _services():
                    self._run(host, port, address)
        except EmbeddedError as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            self.stdout.write("stopped")

    def _run(self, host: str, port: int, address: str) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        password = _first_administrator()
        if password:
            submit_first_work()
        connection.close()
        self._welcome(address, password)
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        processes = Processes(colour=colour)
        for name, command in _commands(host, port).items():
            processes.add_process(name, shlex.join(command), env=_environment())
        processes.loop()
        self.stdout.write("stopped")
        if processes.returncode not in {0, 130, 143}:
            raise CommandError("a process would not stay up: its last lines above say why")

    def _welcome(self, address: str, password: str | None) -> None:
        lines = [f"Jobsite is at {address}"]
        if password:
            lines += [
                f"sign in as {ADMINISTRATOR} with the password {password}",
                "(shown only this once; change it in the admin)",
            ]
        else:
            lines += ["sign in with your account; `manage.py changepassword admin` sets a new password"]
        width = max(map(len, lines))
        bar = "-" * (width + 4)
        self.stdout.write("\n".join([bar, *(f"| {line:<{width}} |" for line in lines), bar]))
        self.stdout.flush()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _refuse_taken(host: str, port: int) -> None:
    """Say so before anything is started when somebody else listens there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CommandError(f"cannot listen at {host}:{port} ({error.strerror}): set PORT to a free one") from None


@contextlib.contextmanager
def _services() -> Iterator[None]:
    """The embedded ones, as far as no URL names others."""
    postgres, redis = not os.environ.get("DATABASE_URL"), not os.environ.get("REDIS_URL")
    if not (postgres or redis):
        yield
        return
    with Embedded(settings.VAR, postgres=postgres, redis=redis):
        yield


def _first_administrator() -> str | None:
    """On the first run: make an account and give its password; later None."""
    users = get_user_model().objects
    if users.filter(is_superuser=True).exists():
        return None
    password = secrets.token_urlsafe(12)
    users.create_superuser(ADMINISTRATOR, password=password)
    return password


def _commands(host: str, port: int) -> dict[str, list[str]]:
    python = sys.executable
    celery = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
    processes = str(settings.JOBSITE_WORKER_PROCESSES)
    return {
        "web": web_command(host, port),
        **({"api": api_command(host, int(api_port))} if (api_port := os.environ.get("API_PORT")) else {}),
        "worker": [python, "-m", "celery", "-A", "jobsite", "worker", "--concurrency", processes, *celery],
        "dispatcher": [python, str(settings.BASE_DIR / "manage.py"), "dispatcher"],
        "events": [python, str(settings.BASE_DIR / "manage.py"), "events"],
    }


def _environment() -> dict[str, str]:
    """Output comes line by line, nobody asks questions, and tools are found where they were found here."""
    places = [str(settings.BASE_DIR), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, places)),
        "JOBSITE_VAR": str(settings.VAR),
    }
