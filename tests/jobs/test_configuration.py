"""Every field of the queue's configuration, by the API and in the admin: noted, in force at once, and no update gets lost."""

import json

import pytest
from django.contrib.auth.models import User
from django.test import Client

from jobs import admission, configuration, steering
from jobs.api.queue import _PLACES
from jobs.models import AuditEntry, QueueConfig

pytestmark = pytest.mark.django_db

NEW = {
    "max_concurrent_jobs": 9,
    "priority_weights": {"critical": 9.0, "high": 3.0, "medium": 2.0, "low": 1.0},
    "max_retries": 7,
    "backoff_multiplier": 3.5,
    "initial_delay_ms": 20,
    "max_delay_ms": 400_000,
    "operation_retries": {"codemap": {"maxRetries": 1}},
    "default_timeout_ms": 1234,
    "operation_timeouts": {"codemap": 77},
    "max_memory_mb": 512,
    "max_cpu_weight": 2.5,
    "max_disk_mb": 99,
}


@pytest.fixture
def ada():
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    return client


def by_api(client, column, value, version):
    body = {"version": version}
    *way, last = _PLACES[column].strip("/").split("/")
    inner = body
    for part in way:
        inner = inner.setdefault(part, {})
    inner[last] = value
    return client.patch("/api/v1/queue/config", json.dumps(body), content_type="application/json").status_code == 200


def by_admin(client, column, value, version):
    config = configuration.row()
    shown = {name: getattr(config, name) for name in NEW} | {column: value, "version": version}
    data = {name: json.dumps(given) if isinstance(given, dict) else given for name, given in shown.items()}
    return client.post(f"/admin/jobs/queueconfig/{config.pk}/change/", data).status_code == 302


def test_every_field_is_tried():
    assert set(NEW) == set(steering.COLUMNS) == set(_PLACES)


@pytest.mark.parametrize("door", [by_api, by_admin])
@pytest.mark.parametrize("column", NEW)
def test_a_field_is_changed_noted_and_seen_by_the_next_round(ada, door, column):
    before = configuration.row()
    old_limits = configuration.limits_at(admission.outlook().config)
    assert door(ada, column, NEW[column], before.version)
    after = configuration.row()
    assert (getattr(after, column), after.version) == (NEW[column], before.version + 1)
    others = [name for name in NEW if name != column]
    assert [getattr(after, name) for name in others] == [getattr(before, name) for name in others]
    entry = AuditEntry.objects.get(action="configure")
    assert (entry.before, entry.after) == ({column: getattr(before, column)}, {column: NEW[column]})
    assert "ada" in entry.actor
    # What a round decides by: it looks at the row's version each time, so without a restart.
    assert configuration.limits_at(admission.outlook().config) != old_limits


@pytest.mark.parametrize("door", [by_api, by_admin])
def test_the_second_of_two_editors_is_told_and_changes_nothing(ada, door):
    seen = configuration.row().version
    assert door(ada, "max_memory_mb", 512, seen)
    assert not door(ada, "max_memory_mb", 256, seen)
    assert QueueConfig.objects.get().max_memory_mb == 512
