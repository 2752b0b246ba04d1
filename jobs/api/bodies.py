"""JSON in and out: read strictly and within bounds, written by orjson."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

import orjson
from django.conf import settings
from django.http import HttpRequest
from ninja.parser import Parser
from ninja.renderers import BaseRenderer

from jobs import payloads
from jobs.api.problems import MalformedJson, UnsupportedMediaType
from jobs.errors import InvalidRequest, PayloadTooLarge
from jobs.payloads import Json

# Escapes that JSON allows and the database does not: NUL, and halves of surrogate pairs (most turn out to be whole).
_SUSPECT = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_LONGEST_INT = 20


def receive(request: HttpRequest) -> None:
    """Read the body of a write, up to the limit. Raises `PayloadTooLarge` or `UnsupportedMediaType`."""
    if request.method in {"GET", "HEAD", "OPTIONS"}:
        return
    most = int(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
    declared = request.META.get("CONTENT_LENGTH") or "0"
    if not declared.isdecimal() or int(declared[:20]) > most:
        raise _too_large(most)
    # A chunked body declares nothing: one byte more than allowed is enough to know.
    body = request.read(most + 1)
    if len(body) > most:
        raise _too_large(most)
    # `request.body` would read without a bound; this is where it keeps what it has read.
    request._body = body
    if body and (request.content_type or "").lower() != "application/json":
        raise UnsupportedMediaType("send the body as application/json")


def _too_large(most: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"the body has more than {most} bytes. Store large data elsewhere and pass its address.")


class StrictParser(Parser):
    """The standard library's parser with hooks: orjson would take the last of two equal keys and round long numbers."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        parsed: dict[str, Any] = parse(request.body)
        return parsed


def parse(body: bytes) -> Json:
    """Raises `MalformedJson`, or `InvalidRequest` for JSON that cannot be taken as it is meant."""
    try:
        text = body.decode()
        value = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_bounded_int, parse_float=_finite
        )
    except RecursionError:
        raise InvalidRequest(f"the body is nested deeper than {payloads.MAX_DEPTH} levels") from None
    except UnicodeDecodeError:
        raise MalformedJson("the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise MalformedJson(f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    if _SUSPECT.search(text):
        payloads.check(value, what="the body", max_bytes=int(settings.DATA_UPLOAD_MAX_MEMORY_SIZE) * 2)
    return value


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen: set[str] = set()
    twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    raise InvalidRequest(f"the key {twice[:80]!r} stands twice in one object")


def _no_constant(name: str) -> NoReturn:
    raise InvalidRequest(f"{name} is not JSON")


def _bounded_int(digits: str) -> int:
    if len(digits) > _LONGEST_INT or abs(value := int(digits)) > payloads.MAX_INT:
        raise InvalidRequest(f"a whole number has more than 64 bits: {digits[:20]}…")
    return value


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise InvalidRequest(f"a number is too large: {digits[:40]}")
    return value


class OrjsonRenderer(BaseRenderer):
    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        return orjson.dumps(data, option=orjson.OPT_NON_STR_KEYS)
