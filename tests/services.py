"""A pytest plugin: a real PostgreSQL and Redis of this session's own, there before Django reads its settings."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from jobs import briefly
from jobsite.embedded import Embedded, endpoints


def _start() -> Embedded | None:
    """With both URLs set, those services are used and nothing is started."""
    if os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL"):
        return None
    var = Path(tempfile.mkdtemp(prefix="jobsite-test-"))
    (var / "static").mkdir()
    started = Embedded(var, durable=False).__enter__()
    where = endpoints(var)
    os.environ |= {"JOBSITE_VAR": str(var), "DATABASE_URL": where.database_url, "REDIS_URL": where.redis_url}
    return started


# A loaded machine is slow at times, and that is nothing about a property.
settings.register_profile("here", deadline=None)
settings.load_profile("here")

# Tests that run side by side (pytest -n) share the servers, and neither databases nor names in Redis.
if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    os.environ["JOBSITE_REDIS_PREFIX"] = f"jobsite-{worker}"

# On import, because pytest-django reads the settings in the first hook that any plugin could use.
_embedded = _start()


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    """What a page may show for some seconds is not shown to the next test."""
    briefly.forget()


def pytest_unconfigure() -> None:
    if _embedded is not None:
        _embedded.stop()
        shutil.rmtree(_embedded.var, ignore_errors=True)
