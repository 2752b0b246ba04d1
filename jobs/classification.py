"""Why an exception was raised, by its type and by what it carries: which failures are worth another try.

HTTP clients and database drivers are known by name, so that none of them is imported for it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from jobs.errors import Cancelled, Category, InvalidParams, InvalidRequest, Permanent, TimedOut, Transient

Named = Mapping[type[BaseException], Category]

# A wait that a server or a tool asks for is believed up to this; seconds.
LONGEST_WAIT = 30 * 24 * 3600.0
# How far a chain of causes, or groups within groups, is followed.
MAX_DEPTH = 8

_TRANSIENT, _PERMANENT, _RESOURCE, _INVALID = Category.TRANSIENT, Category.PERMANENT, Category.RESOURCE, Category.INVALID_INPUT

# The nearest class in the order of resolution counts, so that a FileNotFoundError is no common OSError.
_BY_TYPE: Named = {
    Transient: _TRANSIENT,
    Permanent: _PERMANENT,
    Cancelled: Category.CANCELLED,
    TimedOut: Category.TIMEOUT,
    InvalidParams: _INVALID,
    InvalidRequest: _INVALID,
    ConnectionError: _TRANSIENT,
    TimeoutError: _TRANSIENT,
    BlockingIOError: _TRANSIENT,
    InterruptedError: _TRANSIENT,
    concurrent.futures.TimeoutError: _TRANSIENT,
    subprocess.TimeoutExpired: _TRANSIENT,
    MemoryError: _RESOURCE,
    BrokenProcessPool: _RESOURCE,
    ssl.SSLCertVerificationError: _PERMANENT,
    FileNotFoundError: _PERMANENT,
    FileExistsError: _PERMANENT,
    IsADirectoryError: _PERMANENT,
    NotADirectoryError: _PERMANENT,
    PermissionError: _PERMANENT,
    ValueError: _INVALID,
    TypeError: _INVALID,
    LookupError: _PERMANENT,
    AttributeError: _PERMANENT,
    NameError: _PERMANENT,
    NotImplementedError: _PERMANENT,
    RecursionError: _PERMANENT,
    AssertionError: _PERMANENT,
    SyntaxError: _PERMANENT,
    ImportError: _PERMANENT,
    ArithmeticError: _PERMANENT,
}
# The first part of the module and the class.
_BY_NAME: Mapping[str, Category] = {
    "httpx.InvalidURL": _INVALID,
    "httpx.UnsupportedProtocol": _INVALID,
    "httpx.TransportError": _TRANSIENT,
    "httpx.DecodingError": _TRANSIENT,
    "httpx.TooManyRedirects": _PERMANENT,
    "requests.ConnectionError": _TRANSIENT,
    "requests.Timeout": _TRANSIENT,
    "requests.ChunkedEncodingError": _TRANSIENT,
    "requests.ContentDecodingError": _TRANSIENT,
    "requests.TooManyRedirects": _PERMANENT,
    "urllib3.LocationValueError": _INVALID,
    "urllib3.HTTPError": _TRANSIENT,
    "aiohttp.ClientConnectionError": _TRANSIENT,
    "aiohttp.ClientPayloadError": _TRANSIENT,
    "redis.ConnectionError": _TRANSIENT,
    "redis.TimeoutError": _TRANSIENT,
    "kombu.OperationalError": _TRANSIENT,
    "django.ValidationError": _INVALID,
    "django.ObjectDoesNotExist": _PERMANENT,
}
_HTTP_CLIENTS = frozenset({"httpx", "requests", "urllib", "aiohttp"})
_RETRIED_STATUSES = frozenset({408, 409, 421, 423, 425, 429})
_REFUSED_STATUSES = frozenset({400, 413, 414, 415, 416, 422})

# The names that PEP 249 gives, of whichever driver; and the classes of SQLSTATE, which say more.
_DATABASES = frozenset({"django", "psycopg", "psycopg2", "sqlite3", "sqlalchemy", "asyncpg", "MySQLdb", "pymysql", "oracledb"})
_DATABASE_ERRORS: Mapping[str, Category] = {
    "OperationalError": _TRANSIENT,
    "InterfaceError": _TRANSIENT,
    "InternalError": _TRANSIENT,
    "DataError": _INVALID,
    "IntegrityError": _PERMANENT,
    "ProgrammingError": _PERMANENT,
    "NotSupportedError": _PERMANENT,
}
_SQLSTATES: Mapping[str, Category] = {
    **dict.fromkeys(("08", "40", "55", "57", "58"), _TRANSIENT),
    "53": _RESOURCE,
    "22": _INVALID,
    **dict.fromkeys(("0A", "23", "28", "3D", "3F", "42"), _PERMANENT),
}
_OUT_OF_RESOURCES = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
# A child that the kernel ended when memory was short, seen from Python and from a shell.
_KILLED = frozenset({-9, 137})


def classify(error: BaseException, named: Named | None = None) -> Category:
    """The category of an exception. `named` is what the tool's author says about types; it wins.

    What no rule names is judged by its cause; and what that leaves open is transient: another try is cheap, a lost job is not.
    """
    return _found(error, named or {}, 0) or Category.TRANSIENT


def wanted_wait(error: BaseException, now: datetime) -> float | None:
    """Seconds to wait before another try, where the error says so: by `Transient`, or by a server's Retry-After."""
    asked = error.retry_after if isinstance(error, Transient) else None
    if asked is None and _http_status(error) in {429, 503}:
        asked = _seconds(_header(error, "Retry-After"), now)
    # NaN fails every comparison, so it becomes 0; without a bound the database would refuse to add it.
    return None if asked is None else min(max(0.0, asked), LONGEST_WAIT)


def _found(error: BaseException, named: Named, depth: int) -> Category | None:
    if depth > MAX_DEPTH:
        return None
    if isinstance(error, BaseExceptionGroup):
        return _of_group(error, named, depth)
    return (
        _nearest(error, named)
        or _of_http(error)
        or _of_database(error)
        or _of_system(error)
        or _of_name(error)
        or _nearest(error, _BY_TYPE)
        or _of_cause(error, named, depth)
    )


def _nearest(error: BaseException, table: Named) -> Category | None:
    return next((table[cls] for cls in type(error).__mro__ if cls in table), None)


def _of_group(group: BaseExceptionGroup[Any], named: Named, depth: int) -> Category | None:
    """Of several failures the one that another try cannot mend decides."""
    inner = [_found(error, named, depth + 1) for error in group.exceptions]
    hopeless = [category for category in inner if category in {_PERMANENT, _INVALID}]
    return next(iter(hopeless or filter(None, inner)), None)


def _of_cause(error: BaseException, named: Named, depth: int) -> Category | None:
    reason = getattr(error, "reason", None)  # where urllib.error.URLError keeps it
    cause = error.__cause__ or (reason if isinstance(reason, BaseException) else None)
    return None if cause is None else _found(cause, named, depth + 1)


def _roots(error: BaseException) -> Iterator[tuple[str, str]]:
    """The first part of the module, and the name, of each class of the error; nearest first."""
    return ((cls.__module__.partition(".")[0], cls.__name__) for cls in type(error).__mro__)


def _of_name(error: BaseException) -> Category | None:
    return next((_BY_NAME[name] for root, cls in _roots(error) if (name := f"{root}.{cls}") in _BY_NAME), None)


def _of_http(error: BaseException) -> Category | None:
    status = _http_status(error)
    if status is None or status < 400:
        return None
    if status in _REFUSED_STATUSES:
        return _INVALID
    if status == 507:
        return _RESOURCE
    return _TRANSIENT if status in _RETRIED_STATUSES or (status > 501 and status != 505) or status == 500 else _PERMANENT


def _http_status(error: BaseException) -> int | None:
    if not any(root in _HTTP_CLIENTS for root, _ in _roots(error)):
        return None
    response = getattr(error, "response", None)
    found = [getattr(response, "status_code", None), getattr(error, "status", None), getattr(error, "code", None)]
    return next((status for status in found if isinstance(status, int) and not isinstance(status, bool)), None)


def _header(error: BaseException, name: str) -> str:
    for carrier in (getattr(error, "response", None), error):
        headers: Any = getattr(carrier, "headers", None)
        if hasattr(headers, "get"):
            return str(headers.get(name) or "")
    return ""


def _seconds(text: str, now: datetime) -> float | None:
    """Retry-After: seconds, or a date (RFC 9110)."""
    if text.strip().isdecimal():
        return float(text)
    with contextlib.suppress(ValueError, TypeError):
        moment = parsedate_to_datetime(text)
        return (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
    return None


def _of_database(error: BaseException) -> Category | None:
    named = next((name for root, name in _roots(error) if root in _DATABASES and name in _DATABASE_ERRORS), None)
    if named is None:
        return None
    # Django and SQLAlchemy wrap the driver's own error.
    inner = (error, error.__cause__, getattr(error, "orig", None))
    state = next((str(code) for e in inner if (code := getattr(e, "sqlstate", None) or getattr(e, "pgcode", None))), "")
    return _SQLSTATES.get(state[:2]) or _DATABASE_ERRORS[named]


def _of_system(error: BaseException) -> Category | None:
    if isinstance(error, OSError) and error.errno in _OUT_OF_RESOURCES:
        return _RESOURCE
    if isinstance(error, subprocess.CalledProcessError):
        return _RESOURCE if error.returncode in _KILLED else None
    return None
