"""Figures as people say them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from django import template

register = template.Library()

MOST_SHOWN = 20_000


@register.filter
def duration(value: timedelta | float | None) -> str:
    """Seconds or a timedelta: "0.4 s", "12 s", "2 min 4 s", "3 h 5 min"."""
    if value is None:
        return ""
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@register.filter
def since(later: datetime | None, earlier: datetime | None) -> str:
    """How long it was from `earlier` to `later`."""
    return "" if later is None or earlier is None else duration(later - earlier)


@register.filter
def millis(moment: datetime | None) -> str:
    """Epoch milliseconds, for clocks that tick in the browser."""
    return "" if moment is None else str(round(moment.timestamp() * 1000))


@register.filter
def as_json(value: Any) -> str:
    """Indented, and cut for show; the whole is a link away."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "\n…"


@register.filter
def get(mapping: dict[str, Any], key: str) -> Any:
    return mapping.get(key)
