"""JSON from outside and from tools, at every door: how text is read, what may be stored, and how the rest is made storable.

`read` text that came from outside, `check` values that did, and make `storable` what a tool said: its job must come to an end.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn, TypeAlias

from jobs.errors import InvalidRequest, MalformedJson, PayloadTooLarge, Problem
from jobs.masking import MASK, is_secret_key, mask_text

Json: TypeAlias = Any

MAX_DEPTH = 64
MAX_INT = 2**63 - 1
MAX_KEY = 1000
# Escapes that JSON allows and the database does not: NUL, and halves of surrogate pairs (most turn out to be whole).
_SUSPECT = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_LONGEST_INT = 20
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def read(text: str | bytes, *, what: str, max_bytes: int, checked_later: bool = False) -> Json:
    """What JSON text says. `checked_later`: what is stored of it passes `check` by itself.

    Raises `MalformedJson`, `InvalidRequest` for what cannot be taken as it is meant, or `PayloadTooLarge`.
    The standard library's parser with hooks: orjson would take the last of two equal keys and round long numbers.
    """
    try:
        text = text.decode() if isinstance(text, bytes) else text
        value = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_bounded_int, parse_float=_finite
        )
    except RecursionError:
        raise InvalidRequest(f"{what} is nested deeper than {MAX_DEPTH} levels") from None
    except UnicodeDecodeError:
        raise MalformedJson(f"{what} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise MalformedJson(f"{what} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    # A walk through all of it is spared where nothing can come of it.
    if not checked_later and (_SUSPECT.search(text) or _UNSTORABLE.search(text) or _may_be_deep_or_large(text, max_bytes)):
        check(value, what=what, max_bytes=max_bytes)
    return value


def _may_be_deep_or_large(text: str, max_bytes: int) -> bool:
    return text.count("[") + text.count("{") > MAX_DEPTH or len(text) > max_bytes // 4


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen: set[str] = set()
    twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    raise InvalidRequest(f"the key {name_text(twice, 80)!r} stands twice in one object")


def _no_constant(name: str) -> NoReturn:
    raise InvalidRequest(f"{name} is not JSON")


def _bounded_int(digits: str) -> int:
    if len(digits) > _LONGEST_INT or abs(value := int(digits)) > MAX_INT:
        raise InvalidRequest(f"a whole number has more than 64 bits: {digits[:20]}…")
    return value


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise InvalidRequest(f"a number is too large: {digits[:40]}")
    return value


def check(value: Json, *, what: str, max_bytes: int) -> None:
    """Refuse what PostgreSQL's jsonb cannot hold or nobody could read. Raises `InvalidRequest` or `PayloadTooLarge`."""
    if problem := _fault(value, 0, ""):
        raise InvalidRequest(f"{what} cannot be stored: {problem.detail}", [problem])
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    if size > max_bytes:
        raise PayloadTooLarge(
            f"{what} has {size} bytes; at most {max_bytes} are allowed. Store large data elsewhere and pass its address."
        )


def _fault(value: Json, depth: int, pointer: str) -> Problem | None:
    if depth > MAX_DEPTH:
        return Problem(detail=f"it is nested deeper than {MAX_DEPTH} levels", pointer=pointer[:200])
    match value:
        case None | bool():
            return None
        case str():
            return _text_fault(value, pointer)
        case int():
            return None if abs(value) <= MAX_INT else Problem(detail="a whole number has more than 64 bits", pointer=pointer)
        case float():
            return None if math.isfinite(value) else Problem(detail="NaN and infinities are not JSON", pointer=pointer)
        case list() | tuple():
            return next((p for i, v in enumerate(value) if (p := _fault(v, depth + 1, f"{pointer}/{i}"))), None)
        case dict():
            return next((p for k, v in value.items() if (p := _item_fault(k, v, depth, pointer))), None)
    return Problem(detail=f"{type(value).__name__} is not a JSON type", pointer=pointer)


def _item_fault(key: object, value: Json, depth: int, pointer: str) -> Problem | None:
    if not isinstance(key, str):
        return Problem(detail="an object's keys must be text", pointer=pointer)
    return _text_fault(key, pointer) or _fault(value, depth + 1, f"{pointer}/{escaped(key[:80])}")


def escaped(key: str) -> str:
    """As a part of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def _text_fault(text: str, pointer: str) -> Problem | None:
    # Lone surrogates pass json.loads and fail at the database.
    found = _UNSTORABLE.search(text)
    if found is None:
        return None
    what = "a NUL character" if found[0] == "\x00" else "half of a surrogate pair"
    return Problem(detail=f"text has {what}", pointer=pointer)


def storable(value: Json, *, max_bytes: int) -> tuple[Json, bool]:
    """`value` as something jsonb takes and everybody may see, and whether anything had to be changed. Never raises.

    Too large a value becomes `{"truncated": true, "bytes": ..., "preview": ...}`. Secrets are covered before anything is cut.
    """
    changed = False

    def clean(item: Any, depth: int) -> Json:
        nonlocal changed
        match item:
            case None | bool():
                return item
            case str():
                text = clean_text(item)
                changed |= text != item
                return text
            case int() if abs(item) <= MAX_INT:
                return int(item)
            case float() if math.isfinite(item):
                return float(item)
        if depth <= MAX_DEPTH and isinstance(item, dict):
            return {name: hidden(name, v) or clean(v, depth + 1) for k, v in item.items() for name in [named(k)]}
        if depth <= MAX_DEPTH and isinstance(item, (list, tuple, set, frozenset)):
            return [clean(v, depth + 1) for v in item]
        changed = True
        return shown(item)

    def named(key: Any) -> str:
        nonlocal changed
        name = shown(key, MAX_KEY)
        changed |= isinstance(key, str) and name != key
        return name

    def hidden(name: str, item: Any) -> str:
        nonlocal changed
        secret = is_secret_key(name, item)
        changed |= secret
        return MASK if secret else ""

    cleaned = clean(value, 0)
    text = json.dumps(cleaned, ensure_ascii=False)
    if len(text.encode()) <= max_bytes:
        return cleaned, changed
    return {"truncated": True, "bytes": len(text.encode()), "preview": text[: max_bytes // 8]}, True


def canonical(value: Json) -> str:
    """The same text for the same value: keys sorted, no blanks."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def loads(text: str) -> Json:
    return json.loads(text)


def clean_text(text: str, limit: int | None = None) -> str:
    """Text that PostgreSQL takes and everybody may see: no NUL, no lone surrogate, no secret; then cut to `limit` characters."""
    if limit is not None:
        # What lies far behind the cut is not worth looking through.
        text = text[: 4 * limit + 20_000]
    return name_text(mask_text(text), limit)


def name_text(text: str, limit: int | None = None) -> str:
    """The same for what we named ourselves ("token:ci"), where nothing can be a secret."""
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + "…"
    return text.replace("\x00", "�").encode("utf-8", "replace").decode()


def shown(value: object, limit: int = 1000) -> str:
    """A value as text, also when its own `repr` or `str` raises."""
    try:
        return clean_text(str(value), limit)
    except Exception as error:
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"
