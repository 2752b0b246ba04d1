"""How the web servers are started: Daphne for everything, and beside it, where wished for, a WSGI server for short API calls."""

from __future__ import annotations

import os
import sys

# Threads that wait for the database; the interpreter lock leaves no use for more.
API_THREADS = 4


def web_command(host: str, port: int) -> list[str]:
    return [sys.executable, "-m", "daphne", "-b", host, "-p", str(port), "--no-server-name", "jobsite.asgi:application"]


def api_command(host: str, port: int) -> list[str]:
    """As many processes as API_PROCESSES says, else one."""
    processes = os.environ.get("API_PROCESSES") or "1"
    return [
        *(sys.executable, "-m", "granian", "--interface", "wsgi", "--host", host, "--port", str(port)),
        *("--workers", processes, "--blocking-threads", str(API_THREADS), "--no-ws", "--log-level", "warning"),
        "jobsite.wsgi:application",
    ]
