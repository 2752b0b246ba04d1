"""The in-process manager: the verbs and behaviours that tools of the replaced system rely on, over the real database."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import pytest
from django.db import connections
from django.db.models.functions import Now

from benchmarks.stack import wait_until
from jobs import external, lifecycle, queries, rescue, rollup
from jobs.errors import Conflict, InvalidParams, InvalidRequest, NotFound
from jobs.manager import JobManager, job_manager
from jobs.models import Attempt, Event, Job
from jobs.subscriptions import subscriptions
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)


def status_of(job_id):
    found = job_manager.get_job(job_id)
    return found and found.job.status


@pytest.fixture(autouse=True)
def _nobody_listens_any_more():
    yield
    subscriptions.close()


def in_threads(*calls):
    """What the calls gave, each made in a thread of its own, all at once."""

    def alone(call):
        try:
            return call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(alone, calls))


# --- jobs that a tool runs by itself -----------------------------------------------------------------------------------
def test_creating_returns_an_id_and_status_pending():
    job_id = job_manager.create_job("some.tool", {"a": 1})
    found = job_manager.get_job(job_id)
    assert (found.job.status, found.job.tool_name, found.job.params) == ("pending", "some.tool", {"a": 1})


def test_a_caller_may_bring_its_own_id():
    assert job_manager.create_job("some.tool", job_id="mine-1") == "mine-1"


def test_an_unknown_id_is_not_found_and_never_a_crash():
    assert job_manager.get_job("nobody") is None
    assert not job_manager.update_job_status("nobody", "running", "hello")
    assert not job_manager.update_job_progress("nobody", 10)
    assert not job_manager.set_job_result("nobody", {"a": 1})
    assert not job_manager.fail_job("nobody", "broken")
    assert not job_manager.cancel_job("nobody")
    with pytest.raises(NotFound):
        job_manager.subscribe_to_job("nobody", print)


def test_a_job_runs_through_its_states():
    job_id = job_manager.create_job("some.tool")
    assert job_manager.update_job_status(job_id, "running", "begun", 10, stage="read", diagnostics=["one"])
    assert job_manager.update_job_progress(job_id, 40, "on the way", sub_progress=5, metadata={"rows": 3})
    job = job_manager.get_job(job_id).job
    assert (job.status, job.progress_percentage, job.progress_message) == ("running", 40, "on the way")
    assert (job.details.current_stage, job.details.sub_progress, job.details.diagnostics) == ("read", 5, ["one"])
    assert job.details.metadata["rows"] == 3
    assert job_manager.set_job_result(job_id, {"rows": 3})
    job = job_manager.get_job(job_id).job
    assert (job.status, job.progress_percentage, job.result.structured_content) == ("completed", 100, {"rows": 3})
    verbs = list(Event.objects.filter(job_id=job_id).order_by("id").values_list("verb", flat=True))
    assert verbs == ["submit", "start", "finish"]


def test_a_result_alone_begins_and_ends_the_job():
    job_id = job_manager.create_job("some.tool")
    assert job_manager.set_job_result(job_id, [1, 2])
    assert job_manager.get_job(job_id).job.result.structured_content == {"result": [1, 2]}


def test_a_result_that_is_an_error_fails_the_job():
    job_id = job_manager.create_job("some.tool")
    job_manager.set_job_result(job_id, {"isError": True, "content": [{"type": "text", "text": "no such file"}]})
    job = job_manager.get_job(job_id).job
    assert (job.status, job.result.is_error, job.result.content[0]["text"]) == ("failed", True, "no such file")


def test_a_failure_keeps_class_and_words():
    job_id = job_manager.create_job("some.tool")
    assert job_manager.fail_job(job_id, KeyError("name"))
    assert status_of(job_id) == "failed"
    assert Attempt.objects.get(job_id=job_id).error_class == "KeyError"
    assert "name" in queries.find(job_id).reason


def test_a_late_result_does_not_overwrite_a_finished_job():
    job_id = job_manager.create_job("some.tool")
    job_manager.set_job_result(job_id, "first")
    assert not job_manager.set_job_result(job_id, "second")
    assert not job_manager.fail_job(job_id, "late")
    assert not job_manager.update_job_status(job_id, "running", "late")
    assert job_manager.get_job(job_id).job.result.structured_content == {"result": "first"}


def test_what_is_said_about_an_earlier_attempt_is_refused():
    job_id = job_manager.create_job("some.tool", max_retries=3)
    job_manager.update_job_status(job_id, "running")
    # Somebody else sends the job back and begins it anew, which this process does not know.
    run = lifecycle.held(queries.current_attempt(job_id))
    lifecycle.interrupt(run, lifecycle.Usage(), actor="somebody")
    lifecycle.begin(job_id, lifecycle.Child(worker="elsewhere", pid=0, lease=60))
    assert not job_manager.update_job_progress(job_id, 50)
    assert not job_manager.complete_job(job_id, "too late")
    assert status_of(job_id) == "running"


def test_cancelling_a_running_job_ends_it_with_the_reason():
    job_id = job_manager.create_job("some.tool")
    job_manager.update_job_status(job_id, "running")
    assert job_manager.cancel_job(job_id, "changed my mind")
    assert not job_manager.update_job_progress(job_id, 50)
    assert not job_manager.complete_job(job_id, "done after all")
    job = job_manager.get_job(job_id).job
    assert (job.status, job.reason) == ("cancelled", "changed my mind")


def test_a_job_cancelled_from_elsewhere_ends_at_the_next_report():
    job_id = job_manager.create_job("some.tool")
    job_manager.update_job_status(job_id, "running")
    lifecycle.cancel(job_id, by="somebody", reason="from elsewhere")
    assert not job_manager.update_job_progress(job_id, 50)
    assert status_of(job_id) == "cancelled"


def test_cancelling_a_finished_job_changes_nothing():
    job_id = job_manager.create_job("some.tool")
    job_manager.set_job_result(job_id, 1)
    assert not job_manager.cancel_job(job_id)
    assert status_of(job_id) == "completed"


def test_many_cancels_at_once_are_safe():
    job_id = job_manager.create_job("some.tool")
    job_manager.update_job_status(job_id, "running")
    in_threads(*[partial(job_manager.cancel_job, job_id)] * 8)
    assert status_of(job_id) == "cancelled"
    assert Event.objects.filter(job_id=job_id, after="cancelled").count() == 1


def test_reports_from_other_threads_count():
    job_id = job_manager.create_job("some.tool")
    assert in_threads(lambda: job_manager.update_job_status(job_id, "running", "there")) == [True]
    assert in_threads(lambda: job_manager.complete_job(job_id, "here")) == [True]
    assert status_of(job_id) == "completed"


def test_a_job_whose_tool_is_silent_is_ended_by_its_time_out_and_not_by_its_lease():
    job_id = job_manager.create_job("some.tool", timeout_ms=50)
    job_manager.update_job_status(job_id, "running")
    time.sleep(0.1)
    rescue.rescue_lost()
    assert status_of(job_id) == "running"
    external.sweep()
    assert status_of(job_id) == "failed"
    assert not job_manager.complete_job(job_id, "late")


def test_a_status_that_does_not_exist_is_refused():
    job_id = job_manager.create_job("some.tool")
    with pytest.raises(InvalidRequest):
        job_manager.update_job_status(job_id, "finished")
    assert job_manager.update_job_status(job_id, "failed", "no luck")
    assert status_of(job_id) == "failed"


# --- jobs that workers run ---------------------------------------------------------------------------------------------
def test_a_task_job_carries_everything():
    parent = job_manager.create_task_job("test.add", {"a": 1})
    job_id = job_manager.create_task_job(
        "test.add",
        {"a": 2},
        operation_type="analysis",
        priority="critical",
        dependencies=[parent],
        timeout_ms=5000,
        max_retries=1,
        project_id="p",
        batch_id="b",
        metadata={"userId": "u"},
    )
    job = job_manager.get_job(job_id).job
    assert (job.operation_type, job.priority, job.dependencies, job.timeout_ms) == ("analysis", "critical", [parent], 5000)
    assert (job.project_id, job.batch_id, job.metadata["userId"], job.metadata["maxRetries"]) == ("p", "b", "u", 1)


def test_a_task_job_is_reported_by_its_worker_alone():
    running = factories.running(factories.submitted("test.walk"))
    assert not job_manager.complete_job(running.job.id, "mine")
    assert not job_manager.update_job_progress(running.job.id, 50)
    assert status_of(running.job.id) == "running"


def test_params_that_do_not_fit_are_refused():
    with pytest.raises(InvalidParams):
        job_manager.create_task_job("test.add", {"a": "one"})
    assert not Job.objects.exists()


def test_the_same_params_give_the_active_job_where_asked():
    first = job_manager.create_task_job("test.add", {"a": 1}, deduplicate=True)
    assert job_manager.create_task_job("test.add", {"a": 1}, deduplicate=True) == first


# --- any job, and the whole --------------------------------------------------------------------------------------------
def test_the_recommended_wait_grows_with_the_looks_and_ends_with_the_job():
    job_id = job_manager.create_job("some.tool")
    first = job_manager.get_job(job_id)
    assert first.wait_ms == first.status.polling_recommendation.interval
    Job.objects.filter(pk=job_id).update(last_look_at=None)
    assert job_manager.get_job(job_id).wait_ms > first.wait_ms
    job_manager.set_job_result(job_id, 1)
    last = job_manager.get_job(job_id)
    assert (last.wait_ms, last.status.polling_recommendation) == (None, None)


def test_queue_status_and_statistics():
    job_manager.create_task_job("test.add", {"a": 1}, priority="high")
    done = job_manager.create_job("some.tool")
    job_manager.set_job_result(done, 1)
    queue = job_manager.get_queue_status()
    assert (queue.queue_length, queue.by_priority["high"]) == (1, 1)
    assert job_manager.get_job_statistics().by_status["completed"] == 1


def test_configuration_changes_take_effect_without_a_restart():
    before = job_manager.update_config(max_concurrent_jobs=7)
    assert job_manager.update_config(max_concurrent_jobs=9) == before + 1
    with pytest.raises(InvalidRequest):
        job_manager.update_config(max_concurrent_jobs=-1)


def test_configuration_changes_of_many_at_once_all_count():
    job_manager.update_config(max_retries=1)
    manager = JobManager(by="many")

    def change(number):
        try:
            return manager.update_config(max_retries=number)
        except Conflict:
            return None

    versions = [version for version in in_threads(*(partial(change, number) for number in range(2, 6))) if version]
    assert len(set(versions)) == len(versions)
    assert job_manager.update_config(max_retries=1) == max(versions) + 1


# --- news --------------------------------------------------------------------------------------------------------------
def test_progress_and_completion_reach_a_subscriber_who_is_then_left_alone():
    job_id = job_manager.create_job("some.tool")
    news = []
    job_manager.subscribe_to_job(job_id, news.append)
    wait_until("the first news", lambda: news)
    job_manager.update_job_status(job_id, "running", "begun", 10)
    wait_until("progress", lambda: news[-1].progress == 10)
    job_manager.complete_job(job_id, "done")
    wait_until("the end", lambda: news[-1].is_final)
    assert [one.status for one in news if one.status != "running"] == ["pending", "completed"]
    assert "begun" in {one.message for one in news}


def test_who_unsubscribes_hears_no_more():
    job_id = job_manager.create_job("some.tool")
    gone, kept = [], []
    unsubscribe = job_manager.subscribe_to_job(job_id, gone.append)
    job_manager.subscribe_to_job(job_id, kept.append)
    wait_until("the first news", lambda: gone and kept)
    unsubscribe()
    heard = len(gone)
    job_manager.complete_job(job_id, 1)
    wait_until("the end", lambda: kept[-1].is_final)
    assert len(gone) == heard


def test_a_listener_that_fails_does_not_keep_the_news_from_others(caplog):
    job_id = job_manager.create_job("some.tool")
    news = []

    def broken(_):
        raise RuntimeError("deaf")

    job_manager.subscribe_to_job(job_id, broken)
    job_manager.subscribe_to_job(job_id, news.append)
    job_manager.complete_job(job_id, 1)
    wait_until("the end", lambda: news and news[-1].is_final)
    assert "deaf" in caplog.text


def test_the_end_of_a_finished_job_is_told_at_once():
    job_id = job_manager.create_job("some.tool")
    job_manager.complete_job(job_id, 1)
    news = []
    job_manager.subscribe_to_job(job_id, news.append)
    wait_until("the end", lambda: news)
    assert [one.status for one in news] == ["completed"]


def test_all_progress_reaches_who_asks_for_all():
    news = []
    unsubscribe = job_manager.subscribe_to_progress(news.append)
    try:
        ids = [job_manager.create_job("some.tool") for _ in range(3)]
        for job_id in ids:
            job_manager.complete_job(job_id, 1)
        wait_until("all ends", lambda: {one.job_id for one in news if one.is_final} >= set(ids))
    finally:
        unsubscribe()


# --- asynchronous forms ------------------------------------------------------------------------------------------------
@pytest.mark.asyncio
async def test_each_verb_has_an_asynchronous_form():
    job_id = await job_manager.acreate_job("some.tool")
    assert await job_manager.aupdate_job_status(job_id, "running")
    assert await job_manager.aset_job_result(job_id, 1)
    assert (await job_manager.aget_job(job_id)).job.status == "completed"
    verbs = {name for name in vars(JobManager) if not name.startswith("_")}
    plain = {name for name in verbs if f"a{name}" in verbs}
    assert verbs == plain | {f"a{name}" for name in plain}


def test_clean_up_removes_old_finished_jobs_never_recent_or_active_ones():
    old, recent = factories.completed(), factories.completed()
    needed = factories.completed()
    active = factories.submitted(depends_on=(needed.id,))
    Job.objects.filter(pk__in=[old.id, needed.id]).update(finished_at=Now() - timedelta(minutes=10))
    newest = Event.objects.order_by("-id").values_list("id", flat=True)[0]
    wait_until("all is counted", lambda: (rollup.roll_up(), rollup.counted_up_to())[1] >= newest)
    assert job_manager.cleanup_old_jobs() == 0, "the retention is an hour"
    assert job_manager.cleanup_old_jobs(max_age_ms=5 * 60_000) == 1
    assert job_manager.get_job(old.id) is None
    assert {status_of(job.id) for job in (recent, needed)} == {"completed"}
    assert status_of(active.id) == "pending"
    with pytest.raises(InvalidRequest):
        job_manager.cleanup_old_jobs(max_age_ms=-1)
