import threading
import time

import psycopg
import pytest
from django.db import connection

from benchmarks.stack import wait_until
from jobs import workers

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def leader():
    """Another dispatcher's connection, which holds the lock."""
    params = connection.get_connection_params()
    with psycopg.connect(**(params | {"cursor_factory": None}), autocommit=True) as link:
        link.execute("SELECT pg_advisory_lock(%s)", [workers.LEADER_LOCK])
        yield link


def test_a_leader_that_asks_the_database_nothing_is_deposed_and_fenced(leader):
    assert not workers.lead()
    assert not workers.depose_silent_leader(30)
    time.sleep(0.05)
    assert workers.depose_silent_leader(0.01)
    wait_until("the lock is free", workers.lead, 5)
    connection.close()
    with pytest.raises(psycopg.OperationalError):
        leader.execute("SELECT 1")


def test_a_leader_in_the_middle_of_a_query_is_left_alone(leader):
    asking = threading.Thread(target=lambda: leader.execute("SELECT pg_sleep(0.3)"))
    asking.start()
    time.sleep(0.1)
    assert not workers.depose_silent_leader(0.01)
    asking.join()
