"""What every test needs."""

import signal

import pytest
from django.db import connection


def pytest_configure():
    """What a shell runs in the background ignores Ctrl-C, and so do its children: tests that press it would wait for ever."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """The audit log cannot be emptied, except in a database that says it is for tests: they are emptied between tests."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {connection.settings_dict['NAME']} SET jobsite.audit_may_be_emptied = 'on'")
        connection.close()


def pytest_collection_modifyitems(items):
    """Two runners share the files: one that takes minutes must not be the last that is begun."""
    items.sort(key=lambda item: item.get_closest_marker("early") is None)
