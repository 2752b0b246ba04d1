import psycopg
import pytest
from django.db import connection

from jobs import doorbell, execution, lifecycle, tasks
from jobs.models import Job
from tests.factories import admitted

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def one_stay(settings):
    settings.JOBSITE_STAY = 0
    yield
    execution._pulse.end()


def cut_off():
    """End the connection of this process from the server's side, as a restart of the database does."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    with psycopg.connect(**{**connection.get_connection_params(), "cursor_factory": None}, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def test_a_child_whose_connection_was_cut_while_it_was_idle_answers_its_next_doorbell():
    job = admitted()
    cut_off()
    tasks.run_attempt(job.current_attempt_id)
    assert Job.objects.get(pk=job.id).status == "completed"


def test_a_child_whose_connection_is_cut_at_a_doorbell_answers_the_next_one(monkeypatch):
    job = admitted()
    start = lifecycle.start

    def cut_at_the_start(*given):
        monkeypatch.setattr(lifecycle, "start", start)
        cut_off()
        return start(*given)

    monkeypatch.setattr(lifecycle, "start", cut_at_the_start)
    tasks.run_attempt(job.current_attempt_id)
    assert Job.objects.get(pk=job.id).status == "pending"
    tasks.run_attempt(job.current_attempt_id)
    assert Job.objects.get(pk=job.id).status == "completed"


def test_what_names_no_attempt_is_dropped():
    for senseless in ("1", None, True, {"a": 1}):
        tasks.run_attempt(senseless)
    assert tasks.run_attempt.name == doorbell.TASK
