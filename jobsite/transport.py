"""Kombu's way to Redis, with one difference: what is no message at all is dropped with a line in the log.

By itself it lets the error through, and the whole worker ends. Who can write to Redis must not be able to end workers by it;
and whatever was in the way, the doorbell that matters is rung again.
"""

from __future__ import annotations

import binascii
import logging
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis

log = logging.getLogger(__name__)


class Channel(redis.Channel):
    """Survives what is not JSON."""

    def _brpop_read(self, **options: Any) -> bool | None:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-any-return, misc]
        except ValueError as error:
            log.warning("dropped what is no message: %s", error)
            raise Empty from None


class Transport(redis.Transport):
    """Survives JSON of another shape."""

    Channel = Channel

    def _deliver(self, message: Any, queue: str | None) -> None:
        if _is_message(message):
            super()._deliver(message, queue)
        else:
            log.warning("dropped what is no message: %.100r", message)


def _is_message(message: object) -> bool:
    if not isinstance(message, dict):
        return False
    properties, headers, body = message.get("properties"), message.get("headers"), message.get("body")
    if not (isinstance(properties, dict) and isinstance(headers, dict) and isinstance(body, str)):
        return False
    if not (isinstance(properties.get("delivery_tag"), str) and isinstance(properties.get("delivery_info"), dict)):
        return False
    try:
        return properties.get("body_encoding") != "base64" or binascii.a2b_base64(body) is not None
    except ValueError:
        return False


def use() -> None:
    """Broker URLs of Redis mean this transport from now on."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
