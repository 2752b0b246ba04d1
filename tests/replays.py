"""The events of a job, and whether they tell how it came to be as it is."""

from jobs.models import Event, Job
from jobs.states import JOB_MOVES, Status


def verbs(job_id):
    return list(Event.objects.filter(job=job_id).order_by("id").values_list("verb", flat=True))


def assert_log_replays(job_id):
    """Every event is a legal move from where the one before it led, and the last leads to where the row is."""
    at = None
    for event in Event.objects.filter(job=job_id).order_by("id"):
        assert (event.before or None) == at
        assert event.after in JOB_MOVES[event.verb][at and Status(at)]
        at = event.after
    assert at == Job.objects.get(pk=job_id).status
