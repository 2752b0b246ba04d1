import json

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from jobs import lifecycle, queries
from jobs.errors import InvalidRequest
from jobs.models import Job
from tests.factories import completed, failed, running, submitted

pytestmark = pytest.mark.django_db


def viewer(*permissions):
    user = User.objects.create_user("eve")
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    signed_in = Client()
    signed_in.force_login(user)
    return signed_in


def test_every_page_opens_for_jobs_in_every_state(client):
    child = submitted(depends_on=[submitted().id])
    jobs = [submitted(), running().job, completed(), failed(), child]
    for address in ("/", "/jobs/", "/submit/", "/jobs/?status=failed", "/jobs/?q=tool:test.add", "/submit/?tool=unknown"):
        assert client.get(address).status_code == 200
    for job in jobs:
        page = client.get(f"/jobs/{job.id}/")
        assert page.status_code == 200
        assert job.id in page.content.decode()
        assert client.get(f"/jobs/{job.id}/parts/").status_code == 200
        assert json.loads(client.get(f"/jobs/{job.id}/result.json").content)["id"] == job.id


def test_text_from_jobs_is_escaped(client):
    evil = "<script>alert(1)</script>"
    begun = running()
    lifecycle.finish(
        begun,
        {"isError": False, "content": [], "x": evil},
        lifecycle.Usage(diagnostics=[evil], message=evil, stage=evil),
        actor=evil,
    )
    for address in ("/jobs/", f"/jobs/{begun.job.id}/", f"/jobs/rows/?ids={begun.job.id}"):
        body = client.get(address).content.decode()
        assert evil not in body
        assert "&lt;script&gt;" in body


def test_no_page_has_inline_script_or_style(client):
    for address in ("/", "/jobs/", "/submit/", f"/jobs/{failed().id}/"):
        body = client.get(address).content.decode()
        assert " style=" not in body
        assert "<script>" not in body
        assert " onclick" not in body


def test_cancel_and_retry_work_without_javascript(client):
    job = submitted()
    assert client.post(reverse("job_cancel", args=[job.id])).headers["Location"] == f"/jobs/{job.id}/"
    assert Job.objects.get(pk=job.id).status == "cancelled"
    client.post(reverse("job_retry", args=[job.id]))
    assert Job.objects.get(pk=job.id).status == "pending"
    said = client.post(reverse("job_retry", args=[job.id]), follow=True).content.decode()
    assert "only failed and cancelled jobs can be retried" in said


def test_who_may_only_look_sees_no_buttons_and_changes_nothing():
    looker, job = viewer(), submitted()
    page = looker.get(f"/jobs/{job.id}/").content.decode()
    assert "job_cancel" not in page
    assert "/cancel/" not in page
    for address in (reverse("job_cancel", args=[job.id]), reverse("job_retry", args=[job.id]), "/submit/"):
        assert looker.post(address).status_code == 403
    assert Job.objects.get(pk=job.id).status == "pending"
    assert looker.get("/submit/").status_code == 403


def test_a_get_changes_nothing(client):
    job = submitted()
    assert client.get(reverse("job_cancel", args=[job.id])).status_code == 405


def test_a_job_is_submitted_from_the_form(client):
    answer = client.post("/submit/", {"tool": "test.add", "params": '{"a": 2}', "priority": "high"})
    job = Job.objects.get()
    assert answer.headers["Location"] == f"/jobs/{job.id}/"
    assert (job.params, job.priority, job.submitted_by) == ({"a": 2}, "high", "ada")


@pytest.mark.parametrize(
    ("params", "words"),
    [("{", "not JSON"), ("[]", "JSON object"), ('{"a": "x"}', "valid integer"), ('{"a": NaN}', "NaN"), ('{"zzz": 1}', "zzz")],
)
def test_what_does_not_fit_stays_in_the_form_with_its_reason(client, params, words):
    page = client.post("/submit/", {"tool": "test.add", "params": params, "priority": "medium"})
    assert page.status_code == 422
    body = page.content.decode()
    assert words in body
    assert params.replace('"', "&quot;") in body
    assert not Job.objects.exists()


def test_unknown_jobs_are_not_found_and_bad_filters_are_told(client):
    assert client.get("/jobs/nobody/").status_code == 404
    assert client.post(reverse("job_cancel", args=["nobody"])).status_code == 404
    for address in ("/jobs/?cursor=rubbish", "/jobs/?status=flying", "/jobs/?q=%00", "/jobs/?q=colour:red"):
        assert client.get(address).status_code == 422


@pytest.mark.parametrize("jobs", [1, 40])
def test_the_list_costs_the_same_queries_for_one_job_and_for_forty(client, jobs, django_assert_max_num_queries):
    lifecycle.submit_many([lifecycle.Submission(tool="test.add") for _ in range(jobs)], by="t")
    with django_assert_max_num_queries(13):
        client.get("/jobs/")


def test_pages_walk_through_all_jobs_once():
    made = {job.id for job in lifecycle.submit_many([lifecycle.Submission(tool="test.add") for _ in range(25)], by="t")}
    seen, cursor = [], ""
    while True:
        page = queries.page(size=10, cursor=cursor)
        seen += [job.id for job in page.jobs]
        cursor = page.next_cursor
        if not cursor:
            break
    assert len(seen) == 25
    assert set(seen) == made


@pytest.mark.parametrize("cursor", ["x", "é", "e30", "WyIyMDIwLTAxLTAxIiwgMV0", "\x00"])
def test_a_made_up_cursor_is_refused(cursor):
    with pytest.raises(InvalidRequest):
        queries.page(cursor=cursor)


def test_why_a_job_waits_is_told():
    parent = submitted()
    child = submitted(depends_on=[parent.id])
    why = queries.why_pending(child)
    assert (why.reason, [job.id for job in why.blockers]) == ("dependencies", [parent.id])
    assert queries.why_pending(parent).reason == "no_dispatcher"
    assert queries.why_pending(completed()) is None


def test_a_pending_job_is_paused_and_resumed_from_its_page(client):
    job = submitted()
    address = f"/jobs/{job.id}/"
    assert f'action="{address}pause/"' in client.get(address).content.decode()
    page = client.post(address + "pause/", follow=True).content.decode()
    assert "It is paused: paused by ada." in page
    assert f'action="{address}resume/"' in page
    assert f'action="{address}pause/"' not in page
    client.post(address + "resume/")
    assert Job.objects.get(pk=job.id).gate == "open"


def test_what_cannot_be_paused_says_so_and_who_may_not_is_refused(client):
    done = completed()
    assert "only pending jobs can be paused" in client.post(f"/jobs/{done.id}/pause/", follow=True).content.decode()
    assert client.post("/jobs/none/resume/").status_code == 404
    job = submitted()
    assert viewer().post(f"/jobs/{job.id}/pause/").status_code == 403
    assert Job.objects.get(pk=job.id).gate == "open"
