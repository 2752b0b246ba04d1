"""Every page of the admin opens, cheaply, under the same content security policy as the rest; and changes no state."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from jobs import catalog, configuration, lifecycle, steering, tokens, webhooks
from jobs.limits import GroupKind
from jobs.models import (
    ApiToken,
    Attempt,
    AuditEntry,
    Delivery,
    Dependency,
    Event,
    ExternalTool,
    GroupRule,
    IdempotencyKey,
    Job,
    JobMetrics,
    ProjectAccess,
    QueueConfig,
    TaskJob,
    Webhook,
    Worker,
)
from tests.api.steps import completed, failed, running, signed_in, submitted

pytestmark = pytest.mark.django_db

MODELS = [
    *(Job, TaskJob, Attempt, Dependency, Event, JobMetrics),
    *(QueueConfig, GroupRule, AuditEntry, IdempotencyKey, ProjectAccess, Worker, ApiToken),
    *(ExternalTool, Webhook, Delivery),
]
EDITED = {QueueConfig, GroupRule, ProjectAccess}


@pytest.fixture(autouse=True)
def webhooks_are_on(settings: Any) -> None:
    settings.JOBSITE_WEBHOOK_HOSTS = ["hooks.example.org"]


@pytest.fixture
def boss() -> Client:
    return signed_in(staff=True, superuser=True, name="boss")


def one_of_everything() -> None:
    parent = completed()
    submitted(depends_on=(parent.id,), params={"a": 1, "note": "<script>alert(1)</script>"})
    failed()
    running()
    now = timezone.now()
    Worker.objects.create(name="here:1", host="here", pid=1, slots=2, queues=["default"], started_at=now, beat_at=now)
    tokens.make("ci", by="tests")
    ProjectAccess.objects.create(group=Group.objects.create(name="team"), project="PRJ-1")
    hook, _ = webhooks.make("https://hooks.example.org/", webhooks.About(), by="tests")
    webhooks.try_out(hook.pk, by="tests")
    catalog.register("pictures.resize", by="tests", params_schema={"type": "object"})
    configuration.row()
    steering.pause(GroupKind.TOOL, "doors.sum", by="ann")
    lifecycle.submit_once([lifecycle.Submission(tool="doors.sum", params={"a": 1})], by="ann", key="k", digest="d")


def address(model: type[Model], page: str, *args: object) -> str:
    return reverse(f"admin:jobs_{model._meta.model_name}_{page}", args=args)


def test_names_in_the_list_of_models_are_english(boss: Client) -> None:
    page = boss.get("/admin/jobs/").content.decode()
    assert "Dependencies" in page
    assert "API tokens" in page
    plurals = [str(model._meta.verbose_name_plural) for model in apps.get_app_config("jobs").get_models()]
    assert [plural for plural in plurals if re.search("[^aeo]ys$", plural)] == []


def test_every_model_is_registered() -> None:
    assert set(MODELS) == {model for model in admin.site._registry if model._meta.app_label == "jobs"}


@pytest.mark.parametrize("model", MODELS)
def test_every_list_and_every_row_opens(boss: Client, model: type[Model]) -> None:
    one_of_everything()
    response = boss.get(address(model, "changelist"))
    assert response.status_code == (302 if model is QueueConfig else 200)
    row = model._default_manager.first()
    assert row is not None
    page = boss.get(address(model, "change", row.pk))
    assert page.status_code == 200
    assert ('name="_save"' in page.content.decode()) == (model in EDITED)


@pytest.mark.parametrize("model", [model for model in MODELS if model not in {GroupRule, ProjectAccess}])
def test_nothing_is_added_or_deleted_by_hand(boss: Client, model: type[Model]) -> None:
    one_of_everything()
    row = model._default_manager.first()
    assert row is not None
    assert boss.get(address(model, "add")).status_code == 403
    assert boss.post(address(model, "add"), {}).status_code == 403
    assert boss.post(address(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert model._default_manager.filter(pk=row.pk).exists()


@pytest.mark.parametrize("model", [model for model in MODELS if model not in EDITED])
def test_no_row_but_the_configuration_and_rules_are_changed_by_hand(boss: Client, model: type[Model]) -> None:
    one_of_everything()
    row = model._default_manager.first()
    assert row is not None
    before = model._default_manager.filter(pk=row.pk).values().get()
    forged = dict.fromkeys(before, "1") | {"status": "completed", "state": "succeeded", "_save": "1"}
    assert boss.post(address(model, "change", row.pk), forged).status_code == 403
    assert model._default_manager.filter(pk=row.pk).values().get() == before


PAGES: list[Callable[[], str]] = [
    lambda: reverse("admin:index"),
    lambda: reverse("admin:jobs_health"),
    lambda: address(Job, "changelist"),
    lambda: address(Job, "change", Job.objects.filter(result__isnull=False).first().pk),  # type: ignore[union-attr]
    lambda: address(Event, "changelist"),
    lambda: address(QueueConfig, "change", 1),
    lambda: address(ApiToken, "changelist"),
]


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_need_nothing_that_the_strict_policy_forbids(boss: Client, page: Callable[[], str]) -> None:
    one_of_everything()
    response = boss.get(page())
    assert response.status_code == 200
    policy = response.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "style-src 'self'" in policy
    assert "unsafe" not in policy
    html = response.content.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)", html)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", html)


@pytest.mark.parametrize("model", [Job, TaskJob, Attempt, Dependency, Event, JobMetrics])
def test_a_list_costs_the_same_queries_for_few_rows_and_for_many(boss: Client, model: type[Model]) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert boss.get(address(model, "changelist")).status_code == 200
        heavy = [q["sql"] for q in queries if re.search(r'"jobs_job"\."(params|result|diagnostics)"', q["sql"])]
        assert not heavy
        return len(queries)

    one_of_everything()
    submitted(depends_on=(failed().id,))
    few = cost()
    for _ in range(10):
        submitted(depends_on=(failed().id,))
    # The list of jobs asks for all that wait at once why they do.
    assert cost() == few <= (16 if issubclass(model, Job) else 5)


def test_a_list_of_many_jobs_counts_only_so_many(boss: Client) -> None:
    one_of_everything()
    with CaptureQueriesContext(connection) as queries:
        boss.get(address(Job, "changelist"))
    counts = [q["sql"] for q in queries if "COUNT(" in q["sql"] and "jobs_job" in q["sql"]]
    assert counts
    assert all("LIMIT" in sql for sql in counts)


def test_jobs_are_found_by_the_beginning_of_their_id_and_filtered(boss: Client) -> None:
    submitted(id="red-1")
    submitted(id="blue-1", priority="high")

    def found(**query: Any) -> set[str]:
        html = boss.get(address(Job, "changelist"), query).content.decode()
        return {name for name in ("red-1", "blue-1") if f">{name}<" in html}

    assert found(q="red") == {"red-1"}
    assert found(q="ed-1") == set()
    assert found(priority__exact="high") == {"blue-1"}
    assert found(tool="doors.sum") == {"red-1", "blue-1"}
    assert found(tool="nothing") == set()
    assert found(status__exact="completed") == set()


def test_the_history_of_a_job_is_one_link_away(boss: Client) -> None:
    job = failed(id="odd:one_1.x")
    page = boss.get(address(Job, "change", "odd_3Aone_5F1.x")).content.decode()
    assert job.id in page
    for link in re.findall(r'href="(/admin/jobs/[a-z]+/\?q=[^"]+)"', page):
        assert boss.get(link).status_code == 200
    events = boss.get(address(Event, "changelist"), {"q": job.id}).content.decode()
    assert len(re.findall(r'class="field-at', events)) == len(re.findall(r"field-verb", events)) == 4
    assert 'class="state state-failed"' in boss.get(address(Attempt, "changelist")).content.decode()


def test_text_of_a_job_is_only_ever_text(boss: Client) -> None:
    job = submitted(params={"a": 1, "note": "<script>alert(1)</script>"})
    html = boss.get(address(Job, "change", job.id)).content.decode()
    assert "&lt;script&gt;" in html
    assert "<script>alert" not in html


def test_a_huge_result_is_cut(boss: Client) -> None:
    job = submitted(params={"a": 1, "note": "x" * 500_000})
    assert len(boss.get(address(Job, "change", job.id)).content) < 100_000


def test_the_digest_of_a_token_is_never_shown(boss: Client) -> None:
    token, secret = tokens.make("ci", by="tests")
    for page in (address(ApiToken, "changelist"), address(ApiToken, "change", token.pk)):
        html = boss.get(page).content.decode()
        assert token.prefix in html
        assert token.digest not in html
        assert secret not in html


def test_the_health_page_is_linked_and_says_how_it_is_and_what_to_do(boss: Client) -> None:
    assert reverse("admin:jobs_health") in boss.get(reverse("admin:index")).content.decode()
    html = boss.get(reverse("admin:jobs_health")).content.decode()
    for name in ("database", "redis", "migrations", "workers", "dispatcher", "queue", "oldest wait"):
        assert f">{name}<" in html
    assert "PostgreSQL" in html
    assert 'class="state state-completed"' in html
    assert 'class="state state-failed"' in html
    assert "manage.py dispatcher" in html


def test_any_member_of_staff_sees_the_health_page_and_nobody_else() -> None:
    assert signed_in(staff=True, name="staff").get(reverse("admin:jobs_health")).status_code == 200
    assert signed_in(name="guest").get(reverse("admin:jobs_health")).status_code == 302


def test_staff_sees_only_what_it_may(boss: Client) -> None:
    client = signed_in(staff=True, name="clerk")
    assert client.get(address(Job, "changelist")).status_code == 403
    assert client.get(address(QueueConfig, "changelist")).status_code == 403
    User.objects.get(username="clerk").user_permissions.add(Permission.objects.get(codename="view_job"))
    assert client.get(address(Job, "changelist")).status_code == 200
