"""JSON from outside and from tools: what may be stored, and how the rest is made storable."""

from __future__ import annotations

import json
import math
import re
from typing import Any, TypeAlias

from jobs.errors import InvalidRequest, PayloadTooLarge, Problem
from jobs.masking import MASK, is_secret_key, mask_text

Json: TypeAlias = Any

MAX_DEPTH = 64
MAX_INT = 2**63 - 1
MAX_KEY = 1000
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


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
            return {name: hidden(name, v) or clean(v, depth + 1) for k, v in item.items() for name in [shown(k, MAX_KEY)]}
        if depth <= MAX_DEPTH and isinstance(item, (list, tuple, set, frozenset)):
            return [clean(v, depth + 1) for v in item]
        changed = True
        return shown(item)

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
