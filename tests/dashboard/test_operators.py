"""The pages operators work with: overview, queue, statistics, workers."""

import json
import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dashboard.templatetags.people import duration
from jobs import briefly, configuration, lifecycle, rollup, sampling, steering, workers
from jobs.lifecycle import Submission
from jobs.limits import GroupKind
from jobs.models import AuditEntry, GroupRule, Job, ProjectAccess, QueueConfig, Rollup, RollupMark, Worker
from tests.factories import completed, failed, running, submitted

pytestmark = pytest.mark.django_db

PAGES = (
    "/",
    "/?range=week",
    "/queue/",
    "/statistics/",
    "/statistics/?by=project&period=month",
    "/workers/",
    "/charts.json?range=day",
)
EVIL = '"><script>alert(1)</script>'


def looker(*permissions):
    user = User.objects.create_user("eve")
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    signed_in = Client()
    signed_in.force_login(user)
    return signed_in


def worker(name="w:1", **columns):
    workers.appear(1, slots=4, queues=["default"])
    Worker.objects.filter(name=workers.name_of_this(1)).update(name=name, **columns)
    return name


def body(client, address):
    answer = client.get(address)
    assert answer.status_code == 200, address
    return answer.content.decode()


def test_every_page_opens_on_an_empty_site_and_says_what_to_do_next(client):
    for address in PAGES:
        body(client, address)
    assert "No dispatcher is running" in body(client, "/")
    assert "Submit a job" in body(client, "/")
    assert "celery -A jobsite worker" in body(client, "/workers/")
    assert "figures appear within seconds" in body(client, "/statistics/")
    assert "Nothing waits for a slot." in body(client, "/queue/")


def hostile():
    configuration.row()
    submitted(project=EVIL, batch=EVIL)
    running(submitted(project=EVIL))
    steering.pause(GroupKind.PROJECT, EVIL, by=EVIL, reason=EVIL)
    worker(EVIL, host=EVIL, drained_by=EVIL, draining_at="2026-01-01T00:00Z")
    completed(submitted(project=EVIL))


@pytest.mark.django_db(transaction=True)
def test_hostile_text_is_only_ever_text_and_no_page_has_inline_script_or_style(client):
    hostile()
    counted()
    assert Rollup.objects.filter(kind="project", name=EVIL).exists()
    for address in PAGES:
        page = body(client, address)
        assert EVIL not in page
        assert " style=" not in page
        assert " onclick" not in page
        assert re.search(r"<script(?![^>]*(src=|application/json))", page) is None, address


def counted():
    sampling.sample()
    with connection.cursor() as cursor:
        cursor.execute("SELECT COALESCE(max(id), 0) FROM jobs_event")
        newest = cursor.fetchone()[0]
    while rollup.roll_up() or RollupMark.objects.filter(counted__lt=newest).exists():
        pass
    briefly.forget()


@pytest.mark.django_db(transaction=True)
def test_figures_on_the_pages_come_from_what_happened(client):
    configuration.row()
    for _ in range(3):
        completed(submitted(project="P", operation="analysis"))
    failed(submitted(project="P"))
    counted()
    data = json.loads(client.get("/charts.json").content)
    lines = {line["key"]: line for line in data["outcomes"]["lines"]}
    assert (lines["completed"]["shown"], lines["failed"]["shown"]) == (3, 1)
    assert sum(lines["completed"]["values"]) == 3
    assert len(data["outcomes"]["times"]) == len(lines["completed"]["values"]) == 60
    assert data["run"]["lines"][0]["shown"] > 0
    assert 'data-failures="1"' in body(client, "/")
    for kind, name in (("tool", "test.add"), ("operation", "analysis"), ("project", "P")):
        assert name in body(client, f"/statistics/?by={kind}&period=hour")
    assert "75.0 %" in body(client, "/statistics/?by=project&period=hour")


def test_an_unknown_range_or_period_is_the_usual_one(client):
    for address in ("/?range=century", "/charts.json?range=%00", "/statistics/?by=moon&period=never"):
        body(client, address)


@pytest.mark.parametrize("address", ["/", "/queue/", "/statistics/", "/workers/", "/charts.json"])
def test_a_page_costs_the_same_queries_for_few_jobs_and_for_many(client, address):
    configuration.row()
    worker()
    numbers = []
    for more in (3, 30):
        lifecycle.submit_many([Submission(tool="test.add", project=f"P{n}") for n in range(more)], by="t")
        for _ in range(more // 3):
            running()
            failed()
        briefly.forget()
        with CaptureQueriesContext(
            connection,
        ) as caught:
            body(client, address)
        numbers.append(len(caught))
    assert numbers[0] == numbers[1] <= 24, [q["sql"][:100] for q in caught]


def test_pages_that_stay_open_share_what_they_read(client):
    configuration.row()
    client.get("/queue/", headers={"X-Refresh": "1"})
    with CaptureQueriesContext(connection) as caught:
        client.get("/queue/", headers={"X-Refresh": "1"})
    asked = [q["sql"] for q in caught if "jobs_" in q["sql"]]
    assert not asked, asked


def test_a_group_is_paused_limited_and_resumed_from_the_page(client):
    client.post("/queue/pause/", {"kind": "tool", "name": "test.add", "reason": "deploy"})
    client.post("/queue/limit/", {"kind": "tool", "name": "test.add", "max_running": "2", "per_minute": ""})
    page = body(client, "/queue/")
    assert "paused by ada" in page
    assert "deploy" in page
    assert "At most 2 at once." in page
    client.post("/queue/resume/", {"kind": "tool", "name": "test.add"})
    rule = GroupRule.objects.get()
    assert (rule.paused_at, rule.max_running) == (None, 2)
    said = client.post("/queue/pause/", {"kind": "tool", "name": ""}, follow=True).content.decode()
    assert "the name is missing" in said
    assert "whole number" in client.post("/queue/limit/", {"kind": "all", "max_running": "x"}, follow=True).content.decode()


def form_of(client):
    page = body(client, "/queue/")
    part = page[page.index('id="configuration"') :]
    return dict(re.findall(r'name="(\w+)" value="([^"]*)"', part))


def test_the_whole_configuration_is_changed_from_the_page_and_noted(client):
    configuration.row()
    given = form_of(client)
    assert len(given) >= 20
    given |= {"max_concurrent_jobs": "7", "weight_high": "3.5", "timeout_validation": "20000", "timeout_codemap": ""}
    given |= {"operation_retries": '{"codemap": {"maxRetries": 1}}'}
    assert client.post("/queue/configuration/", given).status_code == 302
    row = QueueConfig.objects.get()
    assert (row.max_concurrent_jobs, row.priority_weights["high"], row.operation_timeouts["validation"]) == (7, 3.5, 20000)
    assert "codemap" not in row.operation_timeouts
    assert row.operation_retries == {"codemap": {"maxRetries": 1}}
    assert AuditEntry.objects.get().action == "configure"


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("max_concurrent_jobs", "-1", "whole number from 0"),
        ("max_concurrent_jobs", "many", "whole number"),
        ("weight_low", "0", "more than 0"),
        ("max_delay_ms", "1", "Not less than the initial delay"),
        ("timeout_analysis", "0", "time-out"),
        ("operation_retries", "{", "valid JSON"),
        ("operation_retries", "[7]", "operations and their policies"),
    ],
)
def test_what_is_wrong_with_the_configuration_stands_at_its_field_and_nothing_is_changed(client, field, value, words):
    configuration.row()
    answer = client.post("/queue/configuration/", form_of(client) | {field: value})
    assert answer.status_code == 422
    page = answer.content.decode()
    assert words in page
    assert 'aria-invalid="true"' in page
    assert f'value="{value}"' in page or f">{value}</textarea>" in page
    assert QueueConfig.objects.get().version == 1


def test_a_stale_editor_is_told_and_overwrites_nothing(client):
    configuration.row()
    seen = form_of(client)
    steering.configure({"max_retries": 9}, version=1, by="bob")
    page = client.post("/queue/configuration/", seen | {"max_retries": "1"}).content.decode()
    assert "changed meanwhile" in page
    assert QueueConfig.objects.get().max_retries == 9


def test_the_line_is_shown_in_the_order_of_starts_with_its_reasons(client, monkeypatch):
    monkeypatch.setattr("jobs.workers.dispatcher_alive", lambda: True)
    configuration.row()
    low, high = submitted(priority="low"), submitted(priority="critical")
    steering.pause(GroupKind.TOOL, "test.add", by="ada", reason="deploy")
    page = body(client, "/queue/")
    assert page.index(high.id) < page.index(low.id)
    assert "Tool test.add is paused by ada: deploy" in page


def test_a_worker_is_drained_and_taken_back_from_the_page(client):
    name = worker("host:7")
    client.post(f"/workers/{name}/drain/")
    assert Worker.objects.get().drained_by == "ada"
    assert "Take back" in body(client, "/workers/")
    client.post(f"/workers/{name}/drain/", {"back": "1"})
    assert Worker.objects.get().draining_at is None
    assert client.post("/workers/nobody/drain/").status_code == 404


def test_who_may_only_look_sees_no_buttons_and_changes_nothing():
    name, eve = worker("host:7"), looker()
    for address in ("/queue/", "/workers/", "/"):
        assert 'method="post" action="/queue' not in body(eve, address)
        assert "/drain/" not in body(eve, address)
    for address in ("/queue/pause/", "/queue/resume/", "/queue/limit/", "/queue/configuration/", f"/workers/{name}/drain/"):
        assert eve.post(address, {"kind": "all"}).status_code == 403
    assert not AuditEntry.objects.exists()


def test_a_worker_that_died_and_one_that_stopped_are_told_apart(client):
    worker("gone:1", stopped_at="2026-01-01T00:00Z")
    worker("dead:2", beat_at="2026-01-01T00:00Z")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE jobs_worker SET beat_at = now() - interval '5 minutes'")
    page = body(client, "/workers/")
    assert "silent" in page
    assert "stopped" in page
    overview = body(client, "/")
    assert "dead:2" in overview
    assert "gone:1" not in overview


def test_a_job_that_runs_longer_than_is_usual_for_its_tool_needs_somebody(client, monkeypatch):
    from jobs.trends import Typical  # noqa: PLC0415

    begun = running()
    monkeypatch.setattr("jobs.trends.typical", lambda: {"test.add": Typical(runs=50, p50=0.1, p95=1.0)})
    assert "95 in 100" not in body(client, "/")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE jobs_job SET started_at = now() - interval '2 minutes'")
    page = body(client, "/")
    assert "95 in 100 of 50 runs took less than 1.0 s" in page
    assert begun.job.id in page


def test_counts_are_told_to_open_pages_and_only_to_who_sees_all_jobs():
    submitted()
    whole, eve = Client(), User.objects.create_user("eve2")
    whole.force_login(User.objects.create_superuser("ada2"))
    assert whole.get("/counts.json").json()["pending"] == 1
    ProjectAccess.objects.create(user=eve, project="A")
    part = Client()
    part.force_login(eve)
    assert part.get("/counts.json").json() == {}


def test_the_overview_names_a_few_and_counts_the_rest(client):
    configuration.row()
    for n in range(5):
        worker(name=f"w:{n}", beat_at=timezone.now() - timedelta(minutes=1))
    text = body(client, "/")
    assert text.count("Worker silent for") == 3
    assert "2 more workers are silent" in text


def test_times_that_run_are_drawn_by_the_server_too(client):
    waiting, begun = submitted(), running(submitted()).job
    Job.objects.filter(pk=waiting.pk).update(created_at=timezone.now() - timedelta(minutes=5, seconds=3))
    Job.objects.filter(pk=begun.pk).update(started_at=timezone.now() - timedelta(days=3, hours=2, minutes=1))
    text = body(client, "/jobs/")
    assert "waits 5 min 3 s<" in text
    assert ">3 d 2 h<" in text


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.004, "4 ms"),
        (4, "4.0 s"),
        (59.4, "59 s"),
        (124, "2 min 4 s"),
        (11_100, "3 h 5 min"),
        (172_799, "47 h 59 min"),
        (2_563_200, "29 d 16 h"),
    ],
)
def test_lengths_of_time_are_told_as_people_do(seconds, said):
    assert duration(seconds) == said
