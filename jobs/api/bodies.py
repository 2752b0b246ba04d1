"""JSON in and out: read strictly and within bounds, written by orjson."""

from __future__ import annotations

from typing import Any

import orjson
from django.conf import settings
from django.http import HttpRequest
from ninja.parser import Parser
from ninja.renderers import BaseRenderer

from jobs import payloads
from jobs.api.problems import UnsupportedMediaType
from jobs.errors import PayloadTooLarge


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
    """What every door reads JSON by, in the place of ninja's own."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        # Params are measured by themselves; around them there is little else.
        most = 2 * int(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
        parsed: dict[str, Any] = payloads.read(request.body, what="the body", max_bytes=most)
        return parsed


class OrjsonRenderer(BaseRenderer):
    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        return orjson.dumps(data, option=orjson.OPT_NON_STR_KEYS)
