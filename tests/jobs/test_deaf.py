import pytest

from jobs import dispatcher, health, lifecycle, rescue, workers
from jobs.models import Job
from tests.factories import admitted

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def at_once(settings):
    settings.JOBSITE_START_TIMEOUT = -1  # within one transaction no time passes


def rung(times):
    """An attempt that nobody began though it was rung so often."""
    attempt = admitted().current_attempt_id
    for _ in range(times):
        lifecycle.note_rung([attempt])


def test_an_attempt_that_is_rung_in_vain_is_replaced_and_spends_no_retry():
    workers.appear(1, slots=2, queues=["default"])
    rung(rescue.MOST_RINGS - 1)
    (job,) = Job.objects.all()
    first = job.current_attempt_id
    assert rescue.replace_unanswered() == 0
    lifecycle.note_rung([first])
    assert rescue.replace_unanswered() == 1
    dispatcher.one_round()
    job.refresh_from_db()
    assert (job.status, job.retry_count, job.loss_count, job.attempt_count) == ("pending", 0, 0, 2)
    assert job.current_attempt_id not in (None, first)
    assert job.attempts.get(pk=first).state == "cancelled"
    assert job.events.get(verb="withdraw").reason == "nobody answered its doorbells"
    for _ in range(rescue.MOST_RINGS):
        lifecycle.note_rung([job.current_attempt_id])
    assert rescue.replace_unanswered() == 0  # the second one is given twice as long
    begun = lifecycle.start(job.current_attempt_id, lifecycle.Child(worker="w", pid=1, lease=30))
    assert lifecycle.start(first, lifecycle.Child(worker="w", pid=2, lease=30)) is None
    assert begun is not None


def test_where_no_worker_of_the_queue_is_there_nothing_is_replaced():
    workers.appear(1, slots=2, queues=["gpu"])
    rung(50)
    assert rescue.replace_unanswered() == 0
    workers.appear(2, slots=2, queues=["default"])
    assert rescue.replace_unanswered() == 1


def told():
    return next(check for check in health.everything() if check.name == "workers")


def test_a_worker_that_beats_but_takes_no_doorbell_is_told_to_be_deaf():
    workers.appear(1, slots=2, queues=["default"])
    rung(3)
    assert workers.deaf() == [workers.name_of_this(1)]
    assert not told().ok
    assert "deaf" in told().detail


def test_who_was_not_called_often_or_does_not_serve_the_queue_is_not_deaf():
    workers.appear(1, slots=2, queues=["default"])
    workers.appear(2, slots=2, queues=["gpu"])
    rung(2)
    assert workers.deaf() == []
    rung(3)
    assert workers.deaf() == [workers.name_of_this(1)]


def test_a_worker_whose_processes_are_all_busy_is_not_deaf():
    workers.appear(1, slots=1, queues=["default"])
    lifecycle.start(admitted().current_attempt_id, lifecycle.Child(worker=workers.name_of_this(1), pid=2, lease=30))
    rung(3)
    assert workers.deaf() == []
