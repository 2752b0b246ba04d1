import errno
import sqlite3
import ssl
import subprocess
import urllib.error
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import psycopg
import pytest
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import DataError, IntegrityError, OperationalError
from hypothesis import given
from hypothesis import strategies as st

from jobs.classification import LONGEST_WAIT, classify, wanted_wait
from jobs.errors import Cancelled, Category, InvalidParams, Permanent, TimedOut, Transient
from jobs.tools import tool

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def http_error(status, **headers):
    request = httpx.Request("GET", "http://127.0.0.1/")
    return httpx.HTTPStatusError("no", request=request, response=httpx.Response(status, headers=headers, request=request))


def class_of(module, name, *bases, **values):
    """An exception as a library that is not installed here would have it."""
    return type(name, bases or (Exception,), {"__module__": module} | values)


def caused(by, error=None):
    try:
        raise error or RuntimeError("wrapped") from by
    except Exception as raised:
        return raised


@pytest.mark.parametrize(
    ("error", "category"),
    [
        (Transient(), "transient"),
        (Permanent(), "permanent"),
        (Cancelled(), "cancelled"),
        (TimedOut(), "timeout"),
        (InvalidParams("no"), "invalid_input"),
        (ConnectionResetError(), "transient"),
        (TimeoutError(), "transient"),
        (RuntimeError(), "transient"),
        (ValueError(), "invalid_input"),
        (UnicodeDecodeError("utf8", b"", 0, 1, "bad"), "invalid_input"),
        (KeyError(), "permanent"),
        (FileNotFoundError(), "permanent"),
        (PermissionError(), "permanent"),
        (NotImplementedError(), "permanent"),
        (RecursionError(), "permanent"),
        (ModuleNotFoundError(), "permanent"),
        (MemoryError(), "resource"),
        (OSError(errno.ENOSPC, "full"), "resource"),
        (OSError(errno.EMFILE, "too many"), "resource"),
        (OSError(errno.EIO, "odd"), "transient"),
        (ssl.SSLCertVerificationError(), "permanent"),
        (subprocess.TimeoutExpired("x", 1), "transient"),
        (subprocess.CalledProcessError(-9, "x"), "resource"),
        (subprocess.CalledProcessError(1, "x"), "transient"),
        (httpx.ConnectTimeout("slow"), "transient"),
        (httpx.ConnectError("refused"), "transient"),
        (httpx.UnsupportedProtocol("gopher"), "invalid_input"),
        (httpx.InvalidURL("bad"), "invalid_input"),
        (http_error(500), "transient"),
        (http_error(503), "transient"),
        (http_error(501), "permanent"),
        (http_error(429), "transient"),
        (http_error(404), "permanent"),
        (http_error(401), "permanent"),
        (http_error(422), "invalid_input"),
        (http_error(507), "resource"),
        (urllib.error.HTTPError("http://127.0.0.1", 502, "bad gateway", {}, None), "transient"),
        (urllib.error.HTTPError("http://127.0.0.1", 403, "no", {}, None), "permanent"),
        (urllib.error.URLError(ssl.SSLCertVerificationError()), "permanent"),
        (urllib.error.URLError("no route"), "transient"),
        (class_of("requests.exceptions", "ConnectionError", OSError)(), "transient"),
        (class_of("requests.exceptions", "HTTPError", OSError, response=httpx.Response(404))(), "permanent"),
        (class_of("aiohttp.client_exceptions", "ClientResponseError", status=503)(), "transient"),
        (sqlite3.OperationalError(), "transient"),
        (IntegrityError(), "permanent"),
        (DataError(), "invalid_input"),
        (OperationalError(), "transient"),
        (psycopg.errors.SerializationFailure(), "transient"),
        (psycopg.errors.DiskFull(), "resource"),
        (psycopg.errors.UndefinedTable(), "permanent"),
        (caused(psycopg.errors.OutOfMemory(), OperationalError()), "resource"),
        (class_of("sqlalchemy.exc", "OperationalError", orig=psycopg.errors.InvalidPassword())(), "permanent"),
        (ObjectDoesNotExist(), "permanent"),
        (ValidationError("no"), "invalid_input"),
        (caused(FileNotFoundError()), "permanent"),
        (caused(caused(ConnectionError())), "transient"),
        (ExceptionGroup("two", [ConnectionError(), ValueError()]), "invalid_input"),
        (ExceptionGroup("two", [ConnectionError(), MemoryError()]), "transient"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_an_error_is_classified_by_its_type_and_what_it_carries(error, category):
    assert classify(error) == category


def test_what_the_tool_says_wins_and_the_nearest_class_counts():
    class Quota(ValueError):
        pass

    class DailyQuota(Quota):
        pass

    named = {Quota: Category.TRANSIENT, ValueError: Category.PERMANENT}
    assert classify(DailyQuota(), named) is Category.TRANSIENT
    assert classify(ValueError(), named) is Category.PERMANENT
    assert classify(caused(Quota()), named) is Category.TRANSIENT
    assert classify(http_error(503), {httpx.HTTPError: Category.PERMANENT}) is Category.PERMANENT


def test_a_tool_cannot_say_that_an_error_means_lost():
    with pytest.raises(ValueError, match="use one of"):
        tool("test.liar", errors={ValueError: "lost"})(lambda: None)
    with pytest.raises(ValueError, match="swimming"):
        tool("test.liar", errors={ValueError: "swimming"})(lambda: None)


def test_errors_that_cause_each_other_in_a_circle_are_classified_too():
    first, second = RuntimeError(), RuntimeError()
    first.__cause__, second.__cause__ = second, first
    assert classify(first) is Category.TRANSIENT


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (Transient(retry_after=42), 42),
        (Transient(retry_after=float("nan")), 0),
        (Transient(retry_after=float("inf")), LONGEST_WAIT),
        (Transient(retry_after=-5), 0),
        (Transient(), None),
        (http_error(429, **{"retry-after": "30"}), 30),
        (http_error(503, **{"retry-after": format_datetime(NOW + timedelta(minutes=2), usegmt=True)}), 120),
        (http_error(503, **{"retry-after": "soon"}), None),
        (http_error(404, **{"retry-after": "30"}), None),
        (urllib.error.HTTPError("http://127.0.0.1", 503, "busy", {"Retry-After": "7"}, None), 7),
        (ValueError(), None),
    ],
)
def test_a_wait_that_is_asked_for_is_taken_within_reason(error, seconds):
    assert wanted_wait(error, NOW) == seconds


@given(st.text() | st.integers().map(str))
def test_no_header_breaks_the_classification(text):
    error = http_error(503)
    error.response.headers = {"Retry-After": text}
    wait = wanted_wait(error, NOW)
    assert wait is None or 0 <= wait <= LONGEST_WAIT
