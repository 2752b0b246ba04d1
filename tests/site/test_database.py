"""Whether a kept connection holds is known before a request uses it, and asked only when there is a reason."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from django.conf import settings
from django.db import close_old_connections, connection

from benchmarks.stack import named, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def beside() -> Iterator[psycopg.Connection]:
    """Another connection to the same database."""
    with psycopg.connect(named(settings.DATABASES["default"]["NAME"]), autocommit=True) as link:
        yield link


def backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def test_one_that_holds_is_used_without_a_word_to_the_server(beside: psycopg.Connection) -> None:
    pid = backend()
    assert connection.is_usable()
    asked = beside.execute("SELECT query FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone()
    assert asked == ("SELECT pg_backend_pid()",)


def test_one_that_the_server_has_ended_is_replaced(beside: psycopg.Connection) -> None:
    pid = backend()
    beside.execute("SELECT pg_terminate_backend(%s)", [pid])
    wait_until("it is known to be gone", lambda: not connection.is_usable())
    # As at the beginning of every request.
    close_old_connections()
    assert backend() != pid


def test_one_that_was_closed_here_does_not_hold() -> None:
    backend()
    connection.connection.close()
    assert not connection.is_usable()
    close_old_connections()
    assert backend()


def test_one_with_a_notice_to_read_still_holds(beside: psycopg.Connection) -> None:
    with connection.cursor() as cursor:
        cursor.execute("LISTEN news")
    beside.execute("NOTIFY news")
    wait_until("the notice is there", connection._has_unread)
    assert connection.is_usable()
    assert backend() == backend()
