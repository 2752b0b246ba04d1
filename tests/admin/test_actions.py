"""What the admin can do: cancel, retry, revoke, and change the configuration; each as everybody else does it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from jobs import configuration, tokens, webhooks
from jobs.models import ApiToken, AuditEntry, GroupRule, Job, QueueConfig
from tests.api.steps import completed, failed, running, signed_in, submitted

pytestmark = pytest.mark.django_db


@pytest.fixture
def boss() -> Client:
    return signed_in(staff=True, superuser=True, name="boss")


def act(client: Client, action: str, *ids: object, model: str = "job") -> list[str]:
    """Choose rows in the list, and an action; the messages that follow."""
    response = client.post(reverse(f"admin:jobs_{model}_changelist"), {"action": action, "_selected_action": [str(i) for i in ids]})
    assert response.status_code in {200, 302}
    return [str(message) for message in get_messages(response.wsgi_request)]


def test_cancelling_calls_the_verb_and_tells_about_each_job(boss: Client) -> None:
    waiting, going, done = submitted(), running().job, completed()
    told = act(boss, "cancel_jobs", waiting.id, going.id, done.id)
    assert sorted(told) == sorted([f"{waiting.id} is cancelled.", f"{going.id} is told to stop.", f"{done.id} is completed."])
    waiting.refresh_from_db()
    assert (waiting.status, waiting.reason) == ("cancelled", "cancelled by boss")
    assert waiting.events.latest("id").actor == "boss"
    assert Job.objects.get(id=going.id).cancel_requested_at is not None
    assert Job.objects.get(id=done.id).version == done.version


def test_retrying_moves_what_failed_and_says_why_others_stay(boss: Client) -> None:
    broken, done = failed(), completed()
    told = act(boss, "retry_jobs", broken.id, done.id, model="taskjob")
    assert f"{broken.id} is pending." in told
    assert any(done.id in text and "only failed and cancelled" in text for text in told)
    assert Job.objects.get(id=broken.id).status == "pending"
    assert Job.objects.get(id=done.id).status == "completed"


def test_beyond_a_screenful_the_messages_are_counted(boss: Client) -> None:
    told = act(boss, "cancel_jobs", *(submitted().id for _ in range(25)))
    assert len(told) == 21
    assert told[-1] == "… and 5 more, 0 of them refused."
    assert Job.objects.filter(status="cancelled").count() == 25


@pytest.mark.parametrize("action", ["cancel_jobs", "retry_jobs"])
def test_who_may_only_look_may_not_act(action: str) -> None:
    client = signed_in(staff=True, name="clerk")
    clerk = User.objects.get(username="clerk")
    clerk.user_permissions.add(Permission.objects.get(codename="view_job"))
    waiting, broken = submitted(), failed()
    assert action not in client.get(reverse("admin:jobs_job_changelist")).content.decode()
    act(client, action, waiting.id, broken.id)
    assert set(Job.objects.values_list("status", flat=True)) == {"pending", "failed"}
    clerk.user_permissions.add(Permission.objects.get(codename="control_job"))
    act(client, action, waiting.id, broken.id)
    assert set(Job.objects.values_list("status", flat=True)) != {"pending", "failed"}


def test_deleting_goes_by_the_verb_so_dependents_follow_their_policy(boss: Client) -> None:
    going, parent = running().job, submitted()
    child = submitted(depends_on=[parent.id])
    told = act(boss, "delete_jobs", parent.id, going.id)
    assert f"{parent.id} is deleted." in told
    assert any(going.id in text and "cancel it first" in text for text in told)
    child.refresh_from_db()
    assert (child.status, child.reason) == ("failed", f"dependency {parent.id} deleted")
    assert AuditEntry.objects.get().actor == "boss"


def test_there_is_no_deleting_past_the_verbs(boss: Client) -> None:
    job = submitted()
    assert "delete_selected" not in boss.get(reverse("admin:jobs_job_changelist")).content.decode()
    act(boss, "delete_selected", job.id)
    assert Job.objects.filter(id=job.id).exists()


def test_tokens_are_revoked(boss: Client) -> None:
    token, secret = tokens.make("ci", by="tests")
    assert act(boss, "revoke_tokens", token.pk, model="apitoken") == ["Revoked: ci."]
    assert tokens.verify(secret) is None
    revoked_at = ApiToken.objects.get().revoked_at
    act(boss, "revoke_tokens", token.pk, model="apitoken")
    assert ApiToken.objects.get().revoked_at == revoked_at


def form(**changes: Any) -> dict[str, Any]:
    config = configuration.row()
    names = [field.name for field in QueueConfig._meta.fields if field.name not in {"id", "updated_at", "ranked_to"}]
    values = {name: getattr(config, name) for name in names} | changes
    return {name: json.dumps(value) if isinstance(value, dict | list) else value for name, value in values.items()}


def test_the_configuration_is_changed_and_holds_at_once(boss: Client) -> None:
    address = boss.get(reverse("admin:jobs_queueconfig_changelist")).headers["Location"]
    weights = {"critical": 8, "high": 3, "medium": 2, "low": 0.5}
    response = boss.post(address, form(max_concurrent_jobs=12, priority_weights=weights))
    assert response.status_code == 302
    limits = configuration.limits()
    assert (limits.max_concurrent, limits.weights) == (12, weights)
    assert QueueConfig.objects.count() == 1


LIMITS = {"critical": 4, "high": 3, "medium": 2, "low": 1}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_concurrent_jobs", -1),
        ("max_concurrent_jobs", ""),
        ("max_retries", -1),
        ("backoff_multiplier", 0.5),
        ("backoff_multiplier", "nan"),
        ("initial_delay_ms", -1),
        ("max_delay_ms", 999),
        ("default_timeout_ms", 0),
        ("max_memory_mb", 2**31),
        ("max_cpu_weight", "inf"),
        ("priority_weights", {"critical": 4, "high": 3, "medium": 2}),
        ("priority_weights", LIMITS | {"low": 0}),
        ("priority_weights", LIMITS | {"low": -1}),
        ("priority_weights", LIMITS | {"low": "1"}),
        ("priority_weights", LIMITS | {"low": True}),
        ("priority_weights", LIMITS | {"urgent": 9}),
        ("priority_weights", [4, 3, 2, 1]),
        ("priority_weights", "{"),
        ("priority_weights", '{"critical": NaN, "high": 3, "medium": 2, "low": 1}'),
        ("operation_timeouts", {"codemap": 0}),
        ("operation_timeouts", {"codemap": 1.5}),
        ("operation_timeouts", {"magic": 1000}),
        ("operation_retries", {"magic": {}}),
        ("operation_retries", {"codemap": 3}),
        ("operation_retries", {"codemap": {"maxRetries": -1}}),
        ("operation_retries", {"codemap": {"patience": 1}}),
    ],
)
def test_a_configuration_that_would_stop_the_dispatcher_is_refused(boss: Client, field: str, value: object) -> None:
    before = configuration.limits()
    response = boss.post(reverse("admin:jobs_queueconfig_change", args=[1]), form(**{field: value}))
    assert response.status_code == 200
    assert "errorlist" in response.content.decode()
    assert configuration.limits() == before


def test_the_second_of_two_editors_is_told(boss: Client) -> None:
    address = reverse("admin:jobs_queueconfig_change", args=[1])
    first, second = form(max_concurrent_jobs=12), form(max_concurrent_jobs=3)
    assert boss.post(address, first).status_code == 302
    assert "Somebody else changed" in boss.post(address, second).content.decode()
    assert configuration.limits().max_concurrent == 12
    assert AuditEntry.objects.get().actor == "boss"


def test_a_group_is_limited_paused_and_resumed(boss: Client) -> None:
    made = boss.post(reverse("admin:jobs_grouprule_add"), {"kind": "tool", "name": "doors.sum", "max_running": 2, "per_minute": ""})
    assert made.status_code == 302
    rule = GroupRule.objects.get()
    assert (rule.max_running, rule.per_minute, rule.paused_at) == (2, None, None)
    act(boss, "pause_groups", rule.pk, model="grouprule")
    rule.refresh_from_db()
    assert (rule.paused_by, rule.paused_at is None) == ("boss", False)
    boss.post(reverse("admin:jobs_grouprule_change", args=[rule.pk]), {"max_running": 5, "per_minute": 9})
    act(boss, "resume_groups", rule.pk, model="grouprule")
    rule.refresh_from_db()
    assert (rule.max_running, rule.per_minute, rule.paused_at) == (5, 9, None)
    assert list(AuditEntry.objects.order_by("id").values_list("action", flat=True)) == ["limit", "pause", "limit", "resume"]


@pytest.mark.parametrize(
    "wrong", [{"kind": "tool", "name": ""}, {"kind": "all", "name": "x"}, {"kind": "tool", "name": "x", "per_minute": 0}]
)
def test_a_rule_that_makes_no_sense_is_refused(boss: Client, wrong: dict[str, Any]) -> None:
    response = boss.post(reverse("admin:jobs_grouprule_add"), {"max_running": "", "per_minute": ""} | wrong)
    assert response.status_code == 200
    assert "errorlist" in response.content.decode()
    assert not GroupRule.objects.exists()


def test_webhooks_get_a_new_secret_which_the_answer_shows_and_no_later_page(boss: Client, settings: Any) -> None:
    settings.JOBSITE_WEBHOOK_HOSTS = ["hooks.example.org"]
    hook, before = webhooks.make("https://hooks.example.org/", webhooks.About(), by="tests")
    asked = {"action": "rotate_secrets", "_selected_action": [str(hook.pk)]}
    page = boss.post(reverse("admin:jobs_webhook_changelist"), asked)
    hook.refresh_from_db()
    new, old = webhooks.signing(hook, timezone.now())
    assert old == before
    assert new in page.content.decode()
    assert old not in page.content.decode()
    for later in (reverse("admin:jobs_webhook_changelist"), reverse("admin:jobs_webhook_change", args=[hook.pk])):
        html = boss.get(later).content.decode()
        assert new not in html
        assert "sealed:" not in html
    assert AuditEntry.objects.filter(action="rotate webhook", actor="boss").exists()
