"""The list of jobs, what goes on from it, and the pages beside it, by their HTTP answers."""

import csv
import io
import json
import re
import threading
from datetime import timedelta
from urllib.parse import quote

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Permission, User
from django.test import AsyncClient, Client
from django.utils import timezone

from jobs import lifecycle, tools
from jobs.builtin import bulk
from jobs.errors import InvalidParams
from jobs.models import ApiToken, AuditEntry, Job, ProjectAccess, SavedView
from jobs.run_context import RunContext
from tests.dashboard.test_pages import viewer
from tests.factories import completed, failed, running, submitted

pytestmark = pytest.mark.django_db


@pytest.fixture
def client():
    signed_in = Client(REMOTE_ADDR="192.0.2.7")
    signed_in.force_login(User.objects.create_superuser("ada"))
    return signed_in


def shown(client, address):
    return set(re.findall(r'<tr data-job="([^"]+)"', client.get(address).content.decode()))


def test_the_search_is_in_the_address_and_its_terms_are_chips_that_take_themselves_away(client):
    a, b = submitted(project="P"), failed()
    assert shown(client, "/jobs/?q=status:failed") == {b.id}
    assert shown(client, "/jobs/?status=pending&project=P") == {a.id}
    body = client.get("/jobs/?q=status:failed+tool:test.add").content.decode()
    assert 'href="/jobs/?q=tool%3Atest.add"' in body
    assert 'href="/jobs/?q=status%3Afailed"' in body


def test_a_fault_in_the_search_is_shown_at_its_place(client):
    answer = client.get("/jobs/?q=tool:codemap+colour:red")
    assert answer.status_code == 422
    assert "<mark>colour</mark>" in answer.content.decode()
    assert "there is no key" in answer.content.decode()


def test_an_id_that_is_pasted_leads_to_its_job_however_old(client, monkeypatch):
    monkeypatch.setattr("jobs.search.finding.WINDOW", 1)
    old = submitted(id="needle")
    submitted()
    assert client.get("/jobs/?q=needle").headers["Location"] == f"/jobs/{old.id}/"


def test_rows_are_asked_for_by_the_lists_own_search(client):
    a, b = submitted(), failed()
    body = client.get(f"/jobs/rows/?q=status:failed&ids={a.id},{b.id}").content.decode()
    assert a.id not in body
    assert b.id in body


def test_views_are_kept_for_each_person(client):
    client.post("/jobs/views/", {"name": "mine", "q": "status:failed"})
    client.post("/jobs/views/", {"name": "mine", "q": "status:failed age:<1h"})
    client.post("/jobs/views/", {"name": "", "q": "x"})
    client.post("/jobs/views/", {"name": "bad", "q": "colour:red"})
    view = SavedView.objects.get()
    assert (view.name, view.query) == ("mine", "status:failed age:<1h")
    assert "mine</a>" in client.get("/jobs/").content.decode()
    other = viewer()
    assert "mine</a>" not in other.get("/jobs/").content.decode()
    other.post(f"/jobs/views/{view.pk}/drop/")
    assert SavedView.objects.exists()
    client.post(f"/jobs/views/{view.pk}/drop/")
    assert not SavedView.objects.exists()


def run_bulk(job):
    """What the tool gives back, called as a child calls it."""
    begun = running(job)
    return bulk.bulk(bulk.Order(**begun.params), RunContext(begun, threading.Event()))


def test_all_that_match_are_retried_by_a_job_of_their_own_after_a_preview_and_noted(client):
    broken = [failed() for _ in range(3)]
    other = completed()
    page = client.get("/jobs/bulk/?action=retry&all=1&q=tool:test.add").content.decode()
    assert "Retry 3 jobs" in page
    assert all(job.id in page for job in broken)
    fields = dict(re.findall(r'name="(action|q|before|expected|all)" value="([^"]*)"', page))
    late = failed()
    # The clock of a transaction stands still.
    Job.objects.filter(pk=late.id).update(created_at=timezone.now() + timedelta(minutes=1))
    answer = client.post("/jobs/bulk/", fields)
    order = Job.objects.get(tool=bulk.NAME)
    assert answer.headers["Location"] == f"/jobs/{order.pk}/"
    done = run_bulk(order)
    assert done == {
        "action": "retry", "done": 3, "unchanged": 0, "gone": 0, "refused": 0, "reasons": {}, "firstRefused": []
    }  # fmt: skip
    assert set(Job.objects.filter(status="pending").values_list("pk", flat=True)) == {job.id for job in broken}
    assert Job.objects.get(pk=other.id).status == "completed"
    assert Job.objects.get(pk=late.id).status == "failed"
    assert list(AuditEntry.objects.order_by("id").values_list("action", "actor", "origin")) == [
        ("bulk retry", "ada", "192.0.2.7"),
        ("bulk retry done", "ada", ""),
    ]


def test_chosen_rows_are_cancelled_and_others_are_not(client):
    a, b, c = submitted(), submitted(), running().job
    client.post("/jobs/bulk/", {"action": "cancel", "id": [a.id, c.id], "q": ""})
    run_bulk(Job.objects.get(tool=bulk.NAME))
    assert [Job.objects.get(pk=job.id).status for job in (a, b)] == ["cancelled", "pending"]
    assert Job.objects.get(pk=c.id).cancel_requested_at is not None


def test_a_priority_is_given_to_many(client):
    jobs = [submitted() for _ in range(2)]
    client.post("/jobs/bulk/", {"action": "priority", "priority": "critical", "all": "1", "q": "status:pending"})
    run_bulk(Job.objects.get(tool=bulk.NAME))
    assert {Job.objects.get(pk=job.id).priority for job in jobs} == {"critical"}


def test_all_that_match_are_deleted_but_what_runs_and_only_by_who_may(client):
    done, broken, waits, runs = completed(), failed(), submitted(), running().job
    operator = viewer("control_job")
    assert 'value="delete"' not in operator.get("/jobs/").content.decode()
    assert operator.post("/jobs/bulk/", {"action": "delete", "all": "1"}).status_code == 403
    page = client.get("/jobs/bulk/?action=delete&all=1&q=").content.decode()
    assert "Delete 3 jobs" in page
    assert "gone for good" in page
    client.post("/jobs/bulk/", {"action": "delete", "all": "1", "q": ""})
    order = Job.objects.get(tool=bulk.NAME)
    assert run_bulk(order)["done"] == 3
    assert set(Job.objects.values_list("pk", flat=True)) == {runs.id, order.pk}
    deleted = AuditEntry.objects.filter(action="delete", actor="ada").values_list("subject", flat=True)
    assert set(deleted) == {f"job {job.id}" for job in (done, broken, waits)}


def test_an_order_that_was_not_given_on_the_page_is_refused(client):
    order = bulk.signed(action="cancel", before=timezone.now(), by="ada")
    assert tools.get(bulk.NAME).validate(order)
    for change in ({"by": "root"}, {"action": "retry"}, {"query": "status:running"}, {"signature": ""}):
        with pytest.raises(InvalidParams):
            tools.get(bulk.NAME).validate(order | change)


def test_who_may_not_act_has_no_toolbar_and_is_refused():
    looker, job = viewer(), submitted()
    body = looker.get("/jobs/").content.decode()
    assert "data-toolbar" not in body
    assert 'name="id"' not in body
    assert looker.get("/jobs/bulk/?action=cancel&all=1").status_code == 403
    assert looker.post("/jobs/bulk/", {"action": "cancel", "all": "1"}).status_code == 403
    assert Job.objects.get(pk=job.id).status == "pending"


def test_a_bulk_action_reaches_only_what_its_orderer_sees():
    submitted(project="B", id="hidden")
    mine = submitted(project="A")
    eve = User.objects.create_user("eve")
    eve.user_permissions.set(Permission.objects.filter(codename__in=["control_job"]))
    ProjectAccess.objects.create(user=eve, project="A")
    client = Client()
    client.force_login(eve)
    client.post("/jobs/bulk/", {"action": "cancel", "all": "1", "q": "", "before": ""})
    run_bulk(Job.objects.get(tool=bulk.NAME))
    assert Job.objects.get(pk="hidden").status == "pending"
    assert Job.objects.get(pk=mine.id).status == "cancelled"


def test_tokens_are_made_and_shown_once_and_revoked(client):
    page = client.post("/tokens/", {"name": "ci", "scopes": ["jobs:read"], "days": "7"}).content.decode()
    secret = re.search(r"jst_[A-Za-z0-9_-]{43}", page)[0]
    again = client.get("/tokens/").content.decode()
    assert secret not in again
    assert "jobs:read" in again
    assert Client().get("/api/v1/jobs", headers={"Authorization": f"Bearer {secret}"}).status_code == 200
    client.post("/tokens/revoke/", {"name": "ci"})
    assert Client().get("/api/v1/jobs", headers={"Authorization": f"Bearer {secret}"}).status_code == 401
    assert client.post("/tokens/", {"name": "ci", "scopes": ["jobs:read"]}).status_code == 422
    assert client.post("/tokens/", {"name": "x", "scopes": ["root"]}).status_code == 422
    assert viewer("control_job").get("/tokens/").status_code == 403


def test_a_token_may_be_limited_to_tools_and_projects(client):
    seen = submitted("test.add", project="P 1")
    for tool, project in (("test.add", "P 2"), ("test.walk", "P 1")):
        submitted(tool, project=project)
    typed = {"name": "ci", "scopes": ["jobs:read"], "tools": " test.add\r\n\r\ntest.add", "projects": "P 1\r\nP 3"}
    page = client.post("/tokens/", typed).content.decode()
    secret = re.search(r"jst_[A-Za-z0-9_-]{43}", page)[0]
    token = ApiToken.objects.get()
    assert (token.tools, token.projects) == (["test.add"], ["P 1", "P 3"])
    jobs = Client().get("/api/v1/jobs", headers={"Authorization": f"Bearer {secret}"}).json()["jobs"]
    assert [job["id"] for job in jobs] == [seen.id]
    listed = client.get("/tokens/").content.decode()
    assert "P 1, P 3" in listed
    assert "every job<" not in listed
    noted = AuditEntry.objects.get(action="make token").after
    assert (noted["tools"], noted["projects"]) == (["test.add"], ["P 1", "P 3"])


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"tools": "test.ad"}, "There is no tool test.ad. Write one of these a line"),
        ({"projects": "x" * 101}, "at most 100 names, one a line, of at most 100 characters each"),
        ({"projects": "\n".join(map(str, range(101)))}, "at most 100 names"),
        ({"tools": "\x00"}, "Null characters are not allowed"),
    ],
)
def test_limits_of_a_token_that_cannot_be_are_told_and_stay_in_the_form(client, typed, words):
    answer = client.post("/tokens/", {"name": "ci", "scopes": ["jobs:read"]} | typed)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert words in page
    assert next(iter(typed.values())).replace("\x00", "").split("\n")[0] in page
    assert not ApiToken.objects.exists()


def test_who_sees_some_projects_only_can_make_no_token_that_sees_all():
    limited = viewer("administer")
    ProjectAccess.objects.create(user=User.objects.get(username="eve"), project="A")
    assert limited.get("/tokens/").status_code == 403
    assert limited.post("/tokens/", {"name": "x", "scopes": ["admin"]}).status_code == 403
    assert limited.post("/tokens/revoke/", {"name": "x"}).status_code == 403
    assert 'href="/tokens/"' not in limited.get("/").content.decode()


def test_the_audit_page_tells_who_did_what_from_where_and_may_be_seen_by_few(client):
    job = submitted()
    client.post(f"/jobs/{job.id}/cancel/")
    body = client.get("/audit/").content.decode()
    for words in ("ada", "cancel", job.id, "192.0.2.7", "<del>pending</del>", "<ins>cancelled</ins>"):
        assert words in body
    assert job.id not in client.get("/audit/?actor=nobody").content.decode()
    assert client.get("/audit/?cursor=x").status_code == 200
    assert viewer("control_job").get("/audit/").status_code == 403


def test_a_workflow_shows_its_graph_and_its_failed_part_is_retried(client):
    first = failed(submitted(batch="b", id="w1"))
    submitted(batch="b", id="w2", depends_on=["w1"])
    page = client.get("/workflows/batch/?name=b").content.decode()
    drawn = json.loads(re.search(r'<script id="drawn" type="application/json">(.*?)</script>', page)[1])
    assert {job["id"] for job in drawn["jobs"]} == {"w1", "w2"}
    assert drawn["edges"] == [["w1", "w2"]]
    assert drawn["critical"] == ["w1", "w2"]
    client.post("/workflows/batch/retry/", {"name": "b"})
    assert Job.objects.get(pk=first.id).status == "pending"
    client.post("/workflows/batch/cancel/", {"name": "b"})
    assert set(Job.objects.filter(batch="b").values_list("status", flat=True)) == {"cancelled"}
    assert client.get("/workflows/batch/?name=none").status_code == 404
    assert client.get("/workflows/tool/?name=b").status_code == 404
    assert viewer().post("/workflows/batch/cancel/", {"name": "b"}).status_code == 403


QUERIES = {
    "/jobs/": 13,
    "/jobs/?q=status:pending": 13,
    "/jobs/{job}/": 20,
    "/tokens/": 9,
    "/audit/": 9,
    "/workflows/batch/?name=b": 13,
}


@pytest.mark.parametrize("address", QUERIES)
@pytest.mark.parametrize("number", [3, 40])
def test_a_page_costs_the_same_few_queries_for_three_jobs_and_for_forty(client, address, number, django_assert_max_num_queries):
    made = lifecycle.submit_many([lifecycle.Submission(tool="test.add", batch="b") for _ in range(number)], by="t")
    with django_assert_max_num_queries(QUERIES[address]):
        assert client.get(address.format(job=made[0].id)).status_code == 200


def test_the_diagnostics_are_a_file(client):
    begun = running()
    lifecycle.finish(begun, {"isError": False, "content": []}, lifecycle.Usage(diagnostics=["one", "<b>two"]), actor="t")
    answer = client.get(f"/jobs/{begun.job.id}/log.txt")
    assert answer.content.decode() == "one\n<b>two\n"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.django_db(transaction=True)
def test_all_that_match_is_exported_as_a_stream():
    user = User.objects.create_superuser("ada")
    for n in range(5):
        submitted(params={"a": n}, project="=cmd()")
    failed(submitted(id="broken"))

    async def read(form, query):
        client = AsyncClient()
        await client.aforce_login(user)
        answer = await client.get(f"/jobs/export.{form}?q={query}")
        assert answer.streaming
        return b"".join([part async for part in answer.streaming_content]).decode()

    rows = list(csv.DictReader(io.StringIO(async_to_sync(read)("csv", "status:pending"))))
    assert [json.loads(row["params"])["a"] for row in rows] == [4, 3, 2, 1, 0]
    assert rows[0]["project"] == "'=cmd()"
    assert [job["id"] for job in json.loads(async_to_sync(read)("json", "status:failed"))] == ["broken"]
    assert len(json.loads(async_to_sync(read)("json", ""))) == 6


def test_a_failed_job_is_retried_with_changed_params_or_cloned(client):
    job = failed(submitted(params={"a": 1}, project="P"))
    page = client.get(f"/submit/?from={job.id}&as=json").content.decode()
    assert "&quot;a&quot;: 1" in page
    answer = client.post("/submit/", {"from": job.id, "tool": "x", "params": '{"a": 2}', "priority": "high", "how": "retry"})
    assert answer.headers["Location"] == f"/jobs/{job.id}/"
    assert (Job.objects.get(pk=job.id).status, Job.objects.get(pk=job.id).params) == ("pending", {"a": 2})
    client.post("/submit/", {"from": job.id, "params": '{"a": 3}', "priority": "low"})
    clone = Job.objects.exclude(pk=job.id).get()
    assert (clone.params, clone.project, clone.priority, clone.tool) == ({"a": 3}, "P", "low", "test.add")
    assert client.get("/submit/?from=nobody").status_code == 404
    assert list(AuditEntry.objects.order_by("id").values_list("action", flat=True)) == ["retry", "submit"]


def test_a_batch_may_be_called_anything(client):
    name = "a/b\n<script>alert(1)</script>?&#"
    job = submitted(batch=name, project=name)
    for address in (
        f"/jobs/{job.id}/",
        "/jobs/",
        f"/workflows/batch/?name={quote(name)}",
        f"/workflows/project/?name={quote(name)}",
    ):
        answer = client.get(address)
        assert answer.status_code == 200
        assert "<script>alert" not in answer.content.decode()
