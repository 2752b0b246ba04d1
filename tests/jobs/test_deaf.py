import pytest

from jobs import health, lifecycle, workers
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
