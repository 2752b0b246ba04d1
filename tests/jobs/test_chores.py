import threading

import pytest
from django.db import OperationalError, connection

from benchmarks.stack import wait_until
from jobs import chores, execution
from jobs.chores import Chore
from jobs.models import Event
from tests.factories import admitted, submitted

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_chore_goes_on_after_the_database_failed_and_has_a_connection_of_its_own(monkeypatch):
    monkeypatch.setattr(chores, "AGAIN", 0.01)
    passes = []

    def work():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            passes.append(cursor.fetchone()[0])
        if len(passes) == 1:
            raise OperationalError("the connection was lost")
        return 0.01

    chore = Chore("counting", work)
    chore.start()
    wait_until("three passes", lambda: len(passes) >= 3, 20)
    chore.stop()
    assert not chore.is_alive()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        assert cursor.fetchone()[0] not in passes
    assert len(set(passes)) == 2, "a connection that failed is not used again, one that serves is kept"


def test_after_the_warm_up_no_statement_of_a_job_is_planned_any_more():
    waiting = admitted(submitted("test.add"))

    def in_a_fresh_process():
        try:
            execution.warm_up()
            with connection.cursor() as cursor:
                cursor.execute("SELECT statement, generic_plans FROM pg_prepared_statements")
                plans.extend(cursor.fetchall())
        finally:
            connection.close()

    plans = []
    thread = threading.Thread(target=in_a_fresh_process)
    thread.start()
    thread.join(60)
    planned = [statement for statement, generic in plans if generic]
    assert len(planned) == 3
    assert sum("jobs_jobmetrics" in statement for statement in planned) == 1
    assert [event.verb for event in Event.objects.filter(job_id=waiting.id).order_by("id")] == ["submit", "admit"]
