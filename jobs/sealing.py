"""Secret params are stored encrypted, and opened only in the process that runs the tool.

They must reach the tool as they are, and must not lie so in the database, a backup or a page. The key is made of SECRET_KEY, and
SECRET_KEY_FALLBACKS still opens what older keys have sealed.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from collections.abc import Callable, Collection
from typing import Any

import orjson
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from jobs.errors import InvalidParams
from jobs.masking import MASK, holds_registered, is_secret_key
from jobs.payloads import Json

PREFIX = "sealed:v1:"
# As it may stand in a text that was cut; the same for PostgreSQL's regexp_replace.
SEALED = r"sealed:v1:[A-Za-z0-9_=-]*"
_SEALED = re.compile(SEALED)


@functools.lru_cache(maxsize=8)
def _box(keys: tuple[str, ...]) -> MultiFernet:
    # One hash is enough: the key is random, no password.
    made = [base64.urlsafe_b64encode(hashlib.sha256(b"jobsite params\0" + key.encode()).digest()) for key in keys]
    return MultiFernet([Fernet(key) for key in made])


def _keys() -> tuple[str, ...]:
    return (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)


def seal(params: Json, named: Collection[str] = ()) -> Json:
    """Params with every secret sealed: under names that say so, under those in `named`, and texts that hold a registered value."""

    def secret(key: str, value: Any) -> bool:
        return is_secret_key(key, value) or (key in named and value not in (None, ""))

    return _mapped(params, secret, lambda text: text.startswith(PREFIX) or holds_registered(text), close)


def close(value: Json) -> str:
    """One value, sealed."""
    return PREFIX + _box(_keys()).encrypt(orjson.dumps(value)).decode()


class LostKey(Exception):
    """What was sealed was so with a key that is neither SECRET_KEY nor among SECRET_KEY_FALLBACKS."""


def open_one(text: str) -> Json:
    """What `close` sealed. Raises `LostKey`."""
    try:
        return json.loads(_box(_keys()).decrypt(text.removeprefix(PREFIX).encode()))
    except (InvalidToken, ValueError):
        raise LostKey("it was sealed with another SECRET_KEY") from None


def open_all(params: Json) -> tuple[Json, list[str]]:
    """Params as they were sent, and every text that was sealed. Raises `InvalidParams` when the key has been lost."""
    found: list[str] = []

    def opened(text: str) -> Json:
        try:
            value = open_one(text)
        except LostKey:
            raise InvalidParams("the secret params were sealed with another SECRET_KEY; hand the job in again") from None
        found.extend(_texts(value))
        return value

    return _mapped(params, lambda *_: False, lambda text: text.startswith(PREFIX), opened), found


def covered(params: Json) -> Json:
    """Params for people and programs to see."""
    return _mapped(params, lambda *_: False, lambda text: text.startswith(PREFIX), lambda _: MASK)


def covered_text(text: str) -> str:
    """The same for params as text, also when it was cut."""
    return _SEALED.sub(MASK, text)


def _mapped(
    value: Json, secret_key: Callable[[str, Any], bool], secret_text: Callable[[str], bool], change: Callable[[Any], Json]
) -> Json:
    match value:
        case str():
            return change(value) if secret_text(value) else value
        case dict():
            return {
                key: change(item) if secret_key(key, item) else _mapped(item, secret_key, secret_text, change)
                for key, item in value.items()
            }
        case list():
            return [_mapped(item, secret_key, secret_text, change) for item in value]
    return value


def _texts(value: Json) -> list[str]:
    match value:
        case dict():
            return [text for item in value.values() for text in _texts(item)]
        case list():
            return [text for item in value for text in _texts(item)]
        case None | bool():
            return []
    return [str(value)]
