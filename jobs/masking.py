"""Secrets are covered before anything is cut or stored: what is named like one, looks like one, or was registered."""

from __future__ import annotations

import json
import os
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from logging import Filter, Formatter, LogRecord
from typing import Any
from urllib.parse import quote, urlsplit

MASK = "[masked]"
# Shorter values would cover half of every text.
LEAST = 6

# Whatever stands under these is secret; under the others only texts and containers are: `max_tokens` is a number.
_SECRET_WORDS = frozenset({"password", "passwd", "pwd", "passphrase", "secret", "secrets", "credential", "credentials"})
_TEXT_WORDS = frozenset({"token", "authorization", "cookie", "cookies", "apikey", "bearer", "jwt"})
_PAIRS = frozenset({("api", "key"), ("access", "key"), ("private", "key"), ("secret", "key"), ("signing", "key")})
_SPLIT = re.compile(r"[^a-zA-Z0-9]+|(?<=[a-z0-9])(?=[A-Z])")
_OF_ENVIRONMENT = re.compile(r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|(?:API|ACCESS|SECRET|PRIVATE)_?KEY)$")

# No part can be tried at many places for long: every repetition is bounded.
_NAMES = r"passw(?:or)?d|passphrase|\bpwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|authorization|cookie"
_VALUE = r"(?:\"[^\"\n]{1,4000}\"|'[^'\n]{1,4000}'|[^\s,;&'\"}\])]{3,4000})"
_TEXTS: list[tuple[re.Pattern[str], str]] = [
    (re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.{0,8000}?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.S), MASK),
    (re.compile(r"(://[^/\s:@'\"]{0,100}:)[^/\s@'\"]{1,300}(?=@)"), rf"\1{MASK}"),
    (re.compile(r"\b(bearer|basic)\s{1,3}[A-Za-z0-9._~+/=-]{8,4000}", re.I), rf"\1 {MASK}"),
    (re.compile(rf"((?:{_NAMES})['\"]?\s{{0,3}}[:=]\s{{0,3}})(?!\[masked\]){_VALUE}", re.I), rf"\1{MASK}"),
    (re.compile(r"\beyJ[\w-]{8,4000}\.[\w-]{8,4000}\.[\w-]{0,4000}"), MASK),
    (re.compile(r"\b(?:gh[pousr]_\w{20,255}|sk-[\w-]{20,255}|AKIA[0-9A-Z]{16}|xox[abprs]-[\w-]{10,255}|glpat-[\w-]{20,64})"), MASK),
]
# What one of these must stand in to be searched through; finding texts is a thousand times faster than matching patterns.
_HINTS = (
    *("passw", "passphrase", "pwd", "secret", "token", "api", "access", "private", "authorization", "cookie", "bearer", "basic"),
    *("://", "eyj", "gh", "sk-", "akia", "xox", "glpat-"),
)


def is_secret_key(key: str, value: object) -> bool:
    """Is what stands under this name secret?"""
    if value is None or value == "":
        return False
    words = [word.lower() for word in _SPLIT.split(key) if word]
    if not _SECRET_WORDS.isdisjoint(words):
        return True
    named = not _TEXT_WORDS.isdisjoint(words) or not _PAIRS.isdisjoint(pairwise(words))
    return named and isinstance(value, str | dict | list | tuple)


class _Registry:
    """Values that are secret wherever they stand. Many may register the same one; it stays until the last has let go."""

    def __init__(self, values: Iterable[str]) -> None:
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()
        self.pattern: re.Pattern[str] | None = None
        self.hold(values)

    def hold(self, values: Iterable[str], by: int = 1) -> None:
        with self._lock:
            for value in values:
                for form in _forms(value):
                    self._held[form] += by
            kept = sorted((form for form, number in self._held.items() if number > 0), key=len, reverse=True)
            self.pattern = re.compile("|".join(map(re.escape, kept))) if kept else None


def _forms(value: str) -> set[str]:
    """The value, and as it stands in JSON and in addresses."""
    return {form for form in (value, json.dumps(value)[1:-1], quote(value, safe="")) if len(form) >= LEAST}


def _from_environment() -> list[str]:
    named = [value for name, value in os.environ.items() if _OF_ENVIRONMENT.search(name)]
    urls = [value for name, value in os.environ.items() if name.endswith(("_URL", "_URI", "_DSN"))]
    return [value for value in (*named, *filter(None, map(_password_in, urls))) if len(value) >= 8]


def _password_in(url: str) -> str | None:
    try:
        return urlsplit(url).password
    except ValueError:
        return None


_registry = _Registry(_from_environment())


def register_secret(*values: str) -> None:
    """From now on these values are covered wherever they would be shown or stored. Those under six characters are not taken."""
    _registry.hold(values)


@contextmanager
def secret_for_now(values: Iterable[str]) -> Iterator[None]:
    """These values are covered while this lasts."""
    held = list(values)
    _registry.hold(held)
    try:
        yield
    finally:
        _registry.hold(held, by=-1)


def mask_text(text: str) -> str:
    """The text with its secrets covered. Some microseconds for a text that holds none."""
    if (known := _registry.pattern) is not None:
        text = known.sub(MASK, text)
    lowered = text.lower()
    if not any(hint in lowered for hint in _HINTS):
        return text
    for pattern, instead in _TEXTS:
        text = pattern.sub(instead, text)
    return text


def holds_registered(text: str) -> bool:
    """Does a registered value stand in it?"""
    return _registry.pattern is not None and _registry.pattern.search(text) is not None


def mask(value: Any, depth: int = 0) -> Any:
    """JSON with its secrets covered: values under secret names, and what is secret within texts."""
    match value:
        case str():
            return mask_text(value)
        case dict() if depth < 100:
            return {key: MASK if is_secret_key(str(key), item) else mask(item, depth + 1) for key, item in value.items()}
        case list() | tuple() if depth < 100:
            return [mask(item, depth + 1) for item in value]
    return value


_FORMATTER = Formatter()


class MaskingFilter(Filter):
    """For every handler of logs."""

    def filter(self, record: LogRecord) -> bool:
        record.msg, record.args = mask_text(record.getMessage()), ()
        if record.exc_info and not record.exc_text:
            # The formatter keeps a text that is there already.
            record.exc_text = mask_text(_FORMATTER.formatException(record.exc_info))
        return True
