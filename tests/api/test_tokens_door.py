"""Tokens over the API: only who may do everything and sees everything makes them."""

from typing import get_args

import pytest

from jobs import tokens
from jobs.api.tokens import NewToken, Scope
from jobs.models import ApiToken, AuditEntry
from tests.api.steps import API, Caller, problem

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin():
    return Caller(scopes=[tokens.ADMIN], name="admin")


def test_a_token_is_made_and_works_at_once(admin):
    answer = admin.post("/tokens", {"name": "robot", "scopes": ["jobs:read"], "tools": ["doors.sum"], "expiresInDays": 2})
    made = answer.json()
    assert answer.status_code == 201
    assert tokens.verify(made["secret"]).name == "robot"
    assert (made["scopes"], made["tools"], "projects" in made) == (["jobs:read"], ["doors.sum"], False)
    assert abs(made["expiresAt"] - made["createdAt"] - 2 * 24 * 3600 * 1000) < 60_000
    assert AuditEntry.objects.get(action="make token", subject="token robot").actor == "token:admin"


def test_the_list_tells_no_secret(admin):
    secret = admin.post("/tokens", {"name": "robot"}).json()["secret"]
    text = admin.get("/tokens").content.decode()
    assert {token["name"] for token in admin.get("/tokens").json()["tokens"]} == {"admin", "robot"}
    assert secret not in text
    assert ApiToken.objects.get(name="robot").digest not in text


def test_a_revoked_token_is_refused(admin):
    secret = admin.post("/tokens", {"name": "robot"}).json()["secret"]
    assert admin.client.delete(f"{API}/tokens/robot").status_code == 204
    assert tokens.verify(secret) is None
    assert admin.client.delete(f"{API}/tokens/robot").status_code == 204
    assert problem(admin.client.delete(f"{API}/tokens/nobody"))["status"] == 404


@pytest.mark.parametrize(
    "body",
    [{"name": "-bad"}, {"name": "x", "scopes": ["everything"]}, {"name": "x", "scopes": []}, {"name": "x", "expiresInDays": 0}],
)
def test_what_cannot_be_made_is_refused(admin, body):
    assert problem(admin.post("/tokens", body))["status"] == 422
    assert ApiToken.objects.count() == 1


def test_a_name_is_never_used_twice(admin):
    assert problem(admin.post("/tokens", {"name": "admin"}))["type"].endswith("/taken-name")


def test_the_scopes_that_may_be_asked_for_are_those_there_are():
    assert set(get_args(Scope)) == set(tokens.SCOPES)
    assert NewToken(name="x").scopes == list(tokens.DEFAULT_SCOPES)


def test_without_the_scope_admin_there_are_no_tokens():
    caller = Caller(scopes=[tokens.READ, tokens.SUBMIT, tokens.CONTROL], name="limited")
    for answer in (caller.get("/tokens"), caller.post("/tokens", {"name": "x"}), caller.client.delete(f"{API}/tokens/limited")):
        assert problem(answer)["status"] == 403


def test_a_token_that_sees_a_part_cannot_make_one_that_sees_all():
    caller = Caller(scopes=[tokens.ADMIN], name="narrow")
    ApiToken.objects.filter(name="narrow").update(projects=["alpha"])
    assert problem(caller.post("/tokens", {"name": "wide", "scopes": ["admin"]}))["status"] == 403
    assert problem(caller.get("/tokens"))["status"] == 403
