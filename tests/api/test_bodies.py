"""Bodies that are not what they should be: told clearly, at once, and never an error of ours."""

from __future__ import annotations

import time
from io import BytesIO
from typing import Any

import pytest
from django.conf import settings
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs.api import bodies
from jobs.errors import Refused
from jobs.models import ApiToken
from tests.api.steps import API, Caller, problem, rows

pytestmark = pytest.mark.django_db


def with_a(value: str) -> str:
    return f'{{"toolName": "doors.sum", "params": {{"a": {value}}}}}'


REFUSED: dict[str, tuple[str | bytes, int]] = {
    "nothing": ("", 422),
    "no JSON": ("a=1", 400),
    "half of an object": ('{"toolName": ', 400),
    "no UTF-8": (b'{"toolName": "\xff"}', 400),
    "a list": ("[]", 422),
    "a number": ("1", 422),
    "null": ("null", 422),
    "NaN": (with_a("NaN"), 422),
    "Infinity": (with_a("-Infinity"), 422),
    "a number beyond every float": (with_a("1e999"), 422),
    "a number of 65 bits": (with_a("18446744073709551616"), 422),
    "a number of 5,000 digits": (with_a("9" * 5000), 422),
    "a key twice": ('{"toolName": "doors.sum", "params": {"a": 1, "a": 2}}', 422),
    "half of a surrogate pair": ('{"toolName": "doors.sum", "params": {"a": 1, "note": "\\ud800"}}', 422),
    "half of a pair in a key": ('{"toolName": "doors.sum", "params": {"a": 1, "\\udfff": 1}}', 422),
    "NUL": ('{"toolName": "doors.sum", "params": {"a": 1, "note": "\\u0000"}}', 422),
    "NUL in the name of the tool": ('{"toolName": "\\u0000"}', 422),
    "10,000 levels": (with_a("[" * 10_000 + "]" * 10_000), 422),
    "10,000 levels outside the params": ("[" * 10_000 + "]" * 10_000, 422),
    "100 levels": (with_a("[" * 100 + "]" * 100), 422),
}


@pytest.mark.parametrize(("body", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_a_body_that_cannot_be_taken_is_refused_and_leaves_nothing(body: str | bytes, status: int) -> None:
    caller = Caller()
    before = rows()
    response = caller.post("/jobs", body)
    assert response.status_code == status
    problem(response)
    assert rows() == before


def test_a_refusal_takes_milliseconds_however_vicious_the_body() -> None:
    caller = Caller()
    caller.post("/jobs", "warm up")
    for name, (body, _) in REFUSED.items():
        tries = []
        for _ in range(3):
            began = time.perf_counter()
            caller.post("/jobs", body)
            tries.append(time.perf_counter() - began)
        assert min(tries) < 0.05, name


def test_10_mb_are_refused_by_their_declared_length_without_being_read() -> None:
    class Unread(BytesIO):
        def read(self, *_: object) -> bytes:
            raise AssertionError("the body was read")

    caller = Caller()
    before = rows()
    unread: dict[str, Any] = {"wsgi.input": Unread(), "CONTENT_LENGTH": str(10 * 1024 * 1024)}
    response = caller.client.generic("POST", f"{API}/jobs", content_type="application/json", **unread)
    assert response.status_code == 413
    assert problem(response)["type"] == "/api/v1/problems/payload-too-large"
    assert rows() == before


def test_10_mb_of_params_are_refused() -> None:
    caller = Caller()
    before = rows()
    response = caller.submit(params={"a": 1, "note": "x" * (10 * 1024 * 1024)})
    assert response.status_code == 413
    problem(response)
    assert rows() == before


def test_params_that_fit_into_a_body_but_not_into_a_job_are_refused() -> None:
    response = Caller().submit(params={"a": 1, "note": "x" * (settings.MAX_PAYLOAD + 1)})
    assert problem(response)["status"] == 413


def test_a_body_of_undeclared_length_is_read_up_to_the_limit_only() -> None:
    class Chunked:
        """As an ASGI request looks whose body came in chunks."""

        method = "POST"
        META: dict[str, str] = {}
        content_type = "application/json"
        taken = 0

        def read(self, size: int) -> bytes:
            self.taken += size
            return b"x" * size

    request: Any = Chunked()
    with pytest.raises(Refused) as refused:
        bodies.receive(request)
    assert refused.value.http_status == 413
    assert request.taken == settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1


@pytest.mark.parametrize("length", ["-1", "ten", "1e3", "9" * 30])
def test_a_length_that_is_no_length_is_refused(length: str) -> None:
    response = Caller().client.generic("POST", f"{API}/jobs", content_type="application/json", CONTENT_LENGTH=length)
    assert response.status_code == 413


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_another_media_type_is_refused(kind: str) -> None:
    response = Caller().client.generic("POST", f"{API}/jobs", b'{"toolName": "doors.sum"}', content_type=kind)
    assert response.status_code == 415
    problem(response)


def test_json_may_name_its_charset() -> None:
    client = Caller().client
    body = '{"toolName": "doors.sum", "params": {"a": 1, "note": "\\ud83d\\ude00 żółw"}}'
    response = client.post(f"{API}/jobs", body, content_type="application/json; charset=utf-8")
    assert response.status_code == 202, response.content


FIELDS = [
    "toolName",
    "params",
    "id",
    "priority",
    "dependencies",
    "timeoutMs",
    "maxRetries",
    "metadata",
    "runAt",
    "resourceRequirements",
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda t: t.encode("utf-8", "surrogatepass")))
def test_no_bytes_whatever_make_an_error_of_ours(db: None, body: bytes) -> None:
    caller = _shared()
    assert 400 <= caller.post("/jobs", body).status_code < 500


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.dictionaries(
        st.sampled_from(FIELDS),
        json_values | st.just("doors.sum") | st.just({"a": 1}) | st.text(max_size=5),
    )
)
def test_no_json_whatever_makes_an_error_of_ours(db: None, body: dict[str, Any]) -> None:
    assert _shared().post("/jobs", body).status_code in {202, 400, 409, 422}


def _shared() -> Caller:
    """One token a test: hypothesis runs many examples in one transaction."""
    ApiToken.objects.filter(name="robot").delete()
    return Caller()
