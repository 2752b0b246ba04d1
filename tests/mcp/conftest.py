"""The whole site, running: Daphne, a dispatcher, workers, and the tools that the conformance suite wants."""

import os
import sys
from collections.abc import Iterator

import pytest

from benchmarks.stack import Stack, wait_until


@pytest.fixture(scope="session")
def site() -> Iterator[Stack]:
    # Jobs of one scenario sleep for a minute until they are cancelled: room for them, and a quick ear for the cancel.
    env = {"JOBSITE_TOOLS": "tests.mcp.conformance_tools", "JOBSITE_BEAT": "0.3", "LOG_LEVEL": "WARNING"}
    with Stack(worker_processes=6, slots=6, **env) as stack:
        stack.env["CONFORMANCE_TOKEN"] = made_token(stack, "agent")
        serve = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(stack.port), "tests.mcp.asgi:application"]
        stack.start("web", serve)
        wait_until("the web server answers", stack.answers)
        yield stack


def made_token(stack: Stack, name: str) -> str:
    return stack.manage("token", "create", "--name", name).splitlines()[-1]


@pytest.fixture(scope="session")
def another_token(site: Stack) -> str:
    return made_token(site, f"another-{os.getpid()}")
