"""Health for load balancers: open to all, quick, and silent about our insides."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from jobs import health, redis_link


def test_healthz_asks_nothing_of_the_database(client: Client) -> None:
    # Without the mark django_db any query would raise.
    response = client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"healthy": True})
    assert "no-cache" in response.headers["Cache-Control"]


@pytest.mark.django_db
def test_readyz_is_ready_when_database_redis_and_migrations_are(client: Client) -> None:
    with CaptureQueriesContext(connection) as queries:
        response = client.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"ready": True, "failed": []})
    assert len(queries) <= 4


@pytest.fixture
def no_redis(settings: Settings) -> Iterator[None]:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    redis_link.connection.cache_clear()
    yield
    redis_link.connection.cache_clear()


@pytest.mark.django_db
@pytest.mark.usefixtures("no_redis")
def test_readyz_names_redis_when_it_does_not_answer(client: Client) -> None:
    response = client.get("/readyz")
    assert (response.status_code, response.json()) == (503, {"ready": False, "failed": ["redis"]})
    assert b"127.0.0.1" not in response.content


@pytest.mark.django_db
def test_readyz_names_migrations_that_were_not_applied(client: Client) -> None:
    MigrationRecorder.Migration.objects.filter(app="jobs").delete()
    response = client.get("/readyz")
    assert (response.status_code, response.json()["failed"]) == (503, ["migrations"])


@pytest.mark.django_db
def test_only_reading_is_allowed(client: Client) -> None:
    assert client.post("/healthz").status_code == 405
    assert client.head("/readyz").status_code == 200


@pytest.mark.django_db
def test_without_worker_and_dispatcher_the_checks_say_what_to_do() -> None:
    checks = {check.name: check for check in health.everything()}
    assert checks["database"].ok
    assert not checks["workers"].ok
    assert "celery" in checks["workers"].hint
    assert not checks["dispatcher"].ok
    assert "manage.py dispatcher" in checks["dispatcher"].hint
    assert checks["queue"].detail == "0 pending, 0 running"
    assert checks["oldest wait"].ok
