"""What a call of the API with a token passes, and what still holds for it."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from jobs import tokens
from jobs.models import AuditEntry
from tests.api.steps import API, Caller, signed_in

pytestmark = pytest.mark.django_db


def test_a_call_with_a_token_is_answered_as_one_of_a_signed_in_browser_but_for_what_browsers_are_told() -> None:
    program, browser = Caller(), signed_in(superuser=True)
    short, long = program.get("/queue"), browser.get(f"{API}/queue")
    assert short.json() == long.json()
    assert "Content-Security-Policy" in long.headers
    assert "Content-Security-Policy" not in short.headers
    for name in ("Content-Type", "Content-Length", "Cache-Control", "X-Content-Type-Options", "Referrer-Policy"):
        assert short.headers[name] == long.headers[name], name


def test_a_host_that_is_not_ours_is_refused() -> None:
    assert Caller().client.get(f"{API}/queue", headers={"host": "elsewhere.example.org"}).status_code == 400


def test_plain_http_is_sent_on_where_there_is_tls(settings: Any) -> None:
    secret = tokens.make("robot", by="tests")[1]
    settings.SECURE_SSL_REDIRECT = True
    answer = Client(headers={"authorization": f"Bearer {secret}"}).get(f"{API}/queue")
    assert (answer.status_code, answer.headers["Location"]) == (301, "https://testserver/api/v1/queue")


def test_the_audit_log_knows_where_it_came_from() -> None:
    made = Caller([tokens.ADMIN]).client.post(
        f"{API}/tokens", '{"name": "ci"}', content_type="application/json", REMOTE_ADDR="192.0.2.7"
    )
    assert made.status_code == 201
    assert AuditEntry.objects.get(subject="token ci").origin == "192.0.2.7"
