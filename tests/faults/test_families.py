"""Dependencies of every shape come to an end."""

import time

import pytest
from django.db import IntegrityError, connection, transaction

from jobs import lifecycle
from jobs.errors import DependencyCycle
from jobs.lifecycle import Submission
from jobs.models import Job
from tests.faults.test_workers import NONE_LOST

CHAIN = """
from jobs import lifecycle
from jobs.lifecycle import Submission

def chain(name, length):
    after = [[], *([f"{{name}}{{n}}"] for n in range(length))]
    return [Submission(tool="fault.work", id=f"{{name}}{{n}}", depends_on=after[n]) for n in range(length)]

fan = [Submission(tool="fault.work", id=f"fan{{n}}") for n in range({fan})]
lifecycle.submit_many(chain("chain", {n}), by="t")
lifecycle.submit_many([*fan, Submission(tool="fault.work", id="in", depends_on=[job.id for job in fan])], by="t")
lifecycle.submit_many(chain("doomed", {n}), by="t")
lifecycle.cancel("doomed0", by="t")
"""


@pytest.mark.timeout(900)
@pytest.mark.fault("long chain, wide fan-in, a parent that is cancelled", "resolved by policy; nothing waits for ever")
def test_a_long_chain_and_a_wide_fan_in_come_to_their_end(site, row, short):
    chain, fan = (100, 100) if short else (10_000, 1000)
    with site(worker_processes=4, slots=8) as running:
        began = time.monotonic()
        running.manage("shell", "-v", "0", "-c", CHAIN.format(n=chain, fan=fan))
        running.await_ends(2 * chain + fan + 1, 600)
        cancelled = running.one("SELECT count(*) FROM jobs_job WHERE id LIKE 'doomed%%' AND status IN ('failed', 'cancelled')")
        row.seen = running.judge() | {
            "chain": chain,
            "fan_in": fan,
            "ended_with_their_parent": int(cancelled),
            "seconds": round(time.monotonic() - began, 1),
        }
    assert NONE_LOST.items() <= row.seen.items()
    assert cancelled == chain


@pytest.mark.django_db(transaction=True)
def test_a_cycle_within_one_submit_is_refused():
    """Also one that two clients close, each with a half of it, is refused: tests/jobs/test_depending.py."""
    with pytest.raises(DependencyCycle):
        lifecycle.submit_many(
            [Submission(tool="test.add", id="a", depends_on=["b"]), Submission(tool="test.add", id="b", depends_on=["a"])], by="t"
        )
    assert not Job.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_parent_that_somebody_waits_for_cannot_be_deleted():
    parent = lifecycle.submit(Submission(tool="test.add"), by="t")
    child = lifecycle.submit(Submission(tool="test.add", depends_on=[parent.id]), by="t")
    with pytest.raises(IntegrityError, match="jobs_dependency"):
        _delete(parent.id)
    assert set(Job.objects.values_list("pk", flat=True)) == {parent.id, child.id}


def _delete(job):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM jobs_event WHERE job_id = %s", [job])
        cursor.execute("DELETE FROM jobs_job WHERE id = %s", [job])
