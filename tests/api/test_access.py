"""Who may come in: nothing but health is open to strangers, and a token does what its scopes say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from jobs import tokens
from jobs.api import api, door
from jobs.models import ApiToken
from tests.api.steps import API, Caller, problem, rows, signed_in, submitted

pytestmark = pytest.mark.django_db

OPEN = {"healthz", "readyz", "sign-in", "admin/login/"}


def addresses(patterns: list[Any], prefix: str = "") -> Iterator[str]:
    """Every address of the site, with something in the place of each parameter."""
    for pattern in patterns:
        text = prefix + _plain(pattern)
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern.url_patterns, text)
        elif isinstance(pattern, URLPattern):
            yield text


def _plain(pattern: URLPattern | URLResolver) -> str:
    route = str(pattern.pattern)
    converters = pattern.pattern.converters
    for name, converter in converters.items():
        value = "1" if "int" in type(converter).__name__.lower() else "x"
        for spelling in (f"<{name}>", *(f"<{kind}:{name}>" for kind in ("str", "int", "slug", "path", "uuid"))):
            route = route.replace(spelling, value)
    # A regular expression: what follows the fixed beginning is anything.
    return route.removeprefix("^").split("(?P")[0].rstrip("$")


ADDRESSES = sorted(set(addresses(get_resolver().url_patterns)))


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_stranger_reads_nothing_at_any_address(address: str) -> None:
    response = Client().get(f"/{address}")
    if address.rstrip("/") in {name.rstrip("/") for name in OPEN}:
        assert response.status_code in {200, 503}
    elif address.startswith(("api/", "metrics")):
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        problem(response)
    else:
        assert response.status_code in {301, 302, 404, 405}, address
        assert response.status_code != 302 or response.headers["Location"].startswith(("/sign-in/", "/admin/login/"))


def test_the_walk_has_seen_the_api_and_the_admin() -> None:
    assert {"api/v1/openapi.json", "api/v1/jobs", "api/v1/stats", "healthz", "readyz"} <= set(ADDRESSES)
    assert any(address.startswith("admin/jobs/job/") for address in ADDRESSES)


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "options"])
@pytest.mark.parametrize("path", ["/jobs", "/jobs/x", "/jobs/x/cancel", "/stats", "/openapi.json", "/nothing", "/"])
def test_a_stranger_gets_401_whatever_the_method(method: str, path: str) -> None:
    response = getattr(Client(), method)(API + path, content_type="application/json")
    assert response.status_code == 401
    problem(response)


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer nonsense",
        "Bearer jst_" + "A" * 43,
        "Bearer jst_" + "ü" * 43,
        "Basic cm9ib3Q6eA==",
        "jst_" + "A" * 43,
        "",
    ],
)
def test_a_foreign_token_is_refused_and_writes_nothing(header: str) -> None:
    before = rows()
    response = Client(headers={"authorization": header}).post(
        f"{API}/jobs", {"toolName": "doors.sum", "params": {"a": 1}}, content_type="application/json"
    )
    assert response.status_code == 401
    assert problem(response)["type"] == "/api/v1/problems/unauthenticated"
    assert rows() == before


def test_a_wrong_token_is_not_saved_by_a_session() -> None:
    client = signed_in(superuser=True)
    assert client.get(f"{API}/stats", headers={"authorization": "Bearer nonsense"}).status_code == 401


@pytest.mark.parametrize(
    "change",
    [
        {"revoked_at": timezone.now()},
        {"expires_at": timezone.now() - timedelta(seconds=1)},
    ],
    ids=["revoked", "expired"],
)
def test_a_token_that_is_over_is_refused(change: dict[str, Any]) -> None:
    caller = Caller()
    assert caller.get("/stats").status_code == 200
    ApiToken.objects.update(**change)
    assert caller.get("/stats").status_code == 401


def test_the_token_of_somebody_who_may_not_sign_in_any_more_is_refused() -> None:
    caller = Caller()
    owner = User.objects.create_user("gone", is_active=False)
    ApiToken.objects.update(owner=owner)
    assert caller.get("/stats").status_code == 401


WAYS = [
    ("get", "/stats", tokens.READ),
    ("get", "/jobs/{id}", tokens.READ),
    ("get", "/tools", tokens.READ),
    ("post", "/jobs", tokens.SUBMIT),
    ("post", "/jobs/{id}/cancel", tokens.CONTROL),
    ("post", "/jobs/{id}/retry", tokens.CONTROL),
]


@pytest.mark.parametrize("scope", [tokens.READ, tokens.SUBMIT, tokens.CONTROL])
@pytest.mark.parametrize(("method", "path", "needed"), WAYS)
def test_a_token_may_do_what_its_scopes_say_and_nothing_else(scope: str, method: str, path: str, needed: str) -> None:
    path = path.format(id=submitted().id)
    response = getattr(Caller([scope]), method)(path)
    if scope == needed:
        assert response.status_code not in {401, 403}
    else:
        refusal = problem(response)
        assert (refusal["status"], refusal["type"]) == (403, "/api/v1/problems/forbidden")
        assert needed in refusal["detail"]


def test_the_admin_scope_includes_the_others() -> None:
    caller = Caller([tokens.ADMIN])
    assert caller.get("/stats").status_code == 200
    assert caller.submit().status_code == 202


def test_a_signed_in_browser_may_read_and_needs_permission_to_write() -> None:
    client = signed_in()
    assert client.get(f"{API}/stats").status_code == 200
    response = client.post(f"{API}/jobs", {"toolName": "doors.sum", "params": {"a": 1}}, content_type="application/json")
    assert problem(response)["type"] == "/api/v1/problems/forbidden"
    user = User.objects.get()
    user.user_permissions.add(Permission.objects.get(codename="submit_job"))
    response = client.post(f"{API}/jobs", {"toolName": "doors.sum", "params": {"a": 1}}, content_type="application/json")
    assert response.status_code == 202


def test_a_forged_form_of_another_site_is_refused_and_one_of_ours_taken() -> None:
    client = signed_in(staff=True, superuser=True, csrf=True)
    job = submitted()
    forged = client.post(f"{API}/jobs/{job.id}/cancel", content_type="application/json", data="")
    assert problem(forged)["type"] == "/api/v1/problems/forbidden"
    job.refresh_from_db()
    assert job.status == "pending"
    client.get("/admin/")
    token = client.cookies["csrftoken"].value
    ours = client.post(f"{API}/jobs/{job.id}/cancel", content_type="application/json", data="", headers={"x-csrftoken": token})
    assert ours.status_code == 202
    job.refresh_from_db()
    assert job.status == "cancelled"


def test_a_token_needs_no_csrf_token() -> None:
    caller = Caller()
    caller.client.handler.enforce_csrf_checks = True
    assert caller.submit().status_code == 202


def test_every_answer_forbids_that_it_is_kept() -> None:
    caller = Caller()
    for response in (caller.get("/stats"), caller.get("/nothing"), Client().get(f"{API}/stats")):
        assert response.headers["Cache-Control"] == "no-store"


def test_another_method_is_told_which_there_are() -> None:
    response = Caller().client.delete(f"{API}/jobs")
    assert problem(response)["status"] == 405
    assert set(response.headers["Allow"].replace(" ", "").split(",")) == {"GET", "POST"}


@pytest.mark.parametrize("path", ["/nothing", "/jobs/", "/jobs/x/y/z", "//", "/stats/"])
def test_an_address_that_does_not_exist_is_a_problem_too(path: str) -> None:
    assert problem(Caller().get(path))["type"] == "/api/v1/problems/no-such-address"


@pytest.mark.parametrize("job_id", ["nobody", "x" * 200, "a%00b", "a%20b", "%ff", "..", "'; --", "%E2%82%AC"])
@pytest.mark.parametrize("rest", ["", "/full", "/result", "/events", "/attempts", "/metrics"])
def test_an_unknown_id_is_not_found(job_id: str, rest: str) -> None:
    assert problem(Caller().get(f"/jobs/{job_id}{rest}"))["status"] == 404


@pytest.mark.parametrize("job_id", ["nobody", "a%00b", "x" * 200])
@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_an_unknown_id_cannot_be_steered(job_id: str, verb: str) -> None:
    assert problem(Caller().post(f"/jobs/{job_id}/{verb}"))["status"] == 404


def test_what_nobody_foresaw_tells_nothing_of_our_insides(caplog: pytest.LogCaptureFixture) -> None:
    def broken(request: HttpRequest) -> HttpResponse:
        raise RuntimeError("the secret is 1234")

    request = Caller().client.get(f"{API}/stats").wsgi_request
    response = door.guard(broken)(request)
    assert problem(_with_json(response))["status"] == 500
    assert b"1234" not in response.content  # type: ignore[attr-defined]
    assert "the secret is 1234" in caplog.text


def _with_json(response: Any) -> Any:
    response.json = lambda: json.loads(response.content)
    return response


def test_the_openapi_document_is_3_1_and_names_a_problem_for_every_operation() -> None:
    document = Caller().get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len(operations) == sum(len(view.methods) for view in _operations())
    for operation in operations:
        assert operation["security"] == [{"BearerToken": []}]
        assert operation["responses"]["default"]["content"].keys() == {"application/problem+json"}
    assert document["components"]["schemas"]["NewJob"]["additionalProperties"] is False
    assert "toolName" in document["components"]["schemas"]["JobStatusMessage"]["properties"]


def _operations() -> list[Any]:
    return [
        operation
        for router in api._get_bound_routers()
        for view in router.path_operations.values()
        for operation in view.operations
    ]


def test_the_type_of_every_problem_leads_to_what_it_means() -> None:
    caller = Caller()
    told = problem(caller.get("/nothing"))
    meaning = caller.client.get(told["type"]).json()
    assert meaning == {"type": told["type"], "title": told["title"], "status": 404}
    assert problem(caller.get("/problems/nonsense"))["status"] == 404
