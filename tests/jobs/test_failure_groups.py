from datetime import timedelta

import pytest

from jobs import execution, failure_groups, lifecycle
from jobs.errors import Category, NotFound
from jobs.failure_groups import GroupState
from jobs.failures import Failure
from jobs.lifecycle import Usage
from jobs.models import AuditEntry, Job
from jobs.retry import Again, GiveUp
from tests.factories import admitted, completed, running, submitted

pytestmark = pytest.mark.django_db


def broken(message="row 7 is bad", place="shop:load", *, again=None, tool="test.add"):
    failure = Failure(category=Category.PERMANENT, error_class="Bad", message=message, place=place)
    return lifecycle.fail(running(submitted(tool)), failure, again or GiveUp(reason="no use"), Usage(), actor="t")


def test_failures_that_are_alike_make_one_group_with_its_tools_and_count():
    broken("row 7 is bad")
    broken("row 9 is bad", tool="test.walk")
    last = broken("row 12 is bad", again=Again(delay=9, spends_retry=True))
    broken("row 1 is bad", place="shop:save")
    completed()
    groups = failure_groups.groups()
    assert len(groups) == 2
    group = next(g for g in groups if g.place == "shop:load")
    assert (group.error_class, group.category, group.count, group.failed_jobs) == ("Bad", "permanent", 3, 2)
    assert (group.message, group.tools, group.sample_job) == ("row 12 is bad", ["test.add"], last.id)
    assert group.first_seen <= group.last_seen
    assert sum(group.trend) == 3
    assert group.trend[-1] == 3
    assert group.state is GroupState.OPEN
    assert set(failure_groups.failed_jobs(group.fingerprint)) == set(
        Job.objects.filter(status="failed", error_fingerprint=group.fingerprint).values_list("pk", flat=True)
    )


def test_the_groups_cost_two_queries_however_many_there_are(django_assert_num_queries):
    for n in range(12):
        broken(place=f"shop:part{n}")
    with django_assert_num_queries(2):
        assert len(failure_groups.groups()) == 12


def test_a_window_leaves_out_what_was_not_seen_in_it():
    broken()
    assert failure_groups.groups(window=timedelta()) == []


def test_a_group_is_muted_resolved_and_opened_again_by_the_next_failure():
    print_ = broken() and failure_groups.groups()[0].fingerprint
    failure_groups.mute(print_, by="ann")
    assert failure_groups.group(print_).state is GroupState.MUTED
    failure_groups.unmute(print_, by="ann")
    failure_groups.resolve(print_, by="ann")
    assert failure_groups.group(print_).state is GroupState.RESOLVED
    assert failure_groups.groups(state=GroupState.OPEN) == []
    assert list(AuditEntry.objects.order_by("id").values_list("action", flat=True)) == [
        "mute failure",
        "unmute failure",
        "resolve failure",
    ]
    # In a test's one transaction now() stands still.
    failure_groups.FailureGroup.objects.update(resolved_at="2020-01-01T00:00Z")
    again = failure_groups.group(print_)
    assert (again.state, again.regressed) == (GroupState.OPEN, True)


def test_an_unknown_group_is_not_found():
    for act in (failure_groups.group, lambda name: failure_groups.mute(name, by="ann")):
        with pytest.raises(NotFound):
            act("0" * 16)


@pytest.mark.django_db(transaction=True)
def test_what_a_tool_raises_is_kept_with_its_place_and_fingerprint_on_attempt_and_job(settings):
    settings.JOBSITE_STAY = 30
    job = admitted(submitted("test.fail", params={"kind": "permanent"}))
    execution.answer(job.current_attempt_id, "default", 1000)
    execution._pulse.end()
    row = Job.objects.get(pk=job.id)
    attempt = row.attempts.get()
    assert attempt.error_place == "tests.factories:fail"
    assert len(attempt.error_fingerprint) == 16
    assert (row.error_class, row.error_category, row.error_fingerprint) == ("Permanent", "permanent", attempt.error_fingerprint)
    assert "secret_local" not in attempt.traceback
