"""Figures as people say them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from jobs import sealing
from jobs.models import AuditEntry, Job

register = template.Library()

MOST_SHOWN = 20_000


@register.filter
def duration(value: timedelta | float | None) -> str:
    """Seconds or a timedelta: "0.4 s", "12 s", "2 min 4 s", "3 h 5 min", "29 d 16 h"."""
    if value is None:
        return ""
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if 0 < seconds < 0.095:
        return f"{max(1, seconds * 1000):.0f} ms"
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 2 * 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


@register.filter
def exact(seconds: float | None) -> SafeString:
    """A length of time as people say it, the exact one on hover; "–" where none is known."""
    if seconds is None:
        return SafeString("–")
    return format_html('<span title="{} s">{}</span>', f"{seconds:.3f}", duration(seconds))


@register.filter
def since(later: datetime | None, earlier: datetime | None) -> str:
    """How long it was from `earlier` to `later`."""
    return "" if later is None or earlier is None else duration(later - earlier)


@register.filter
def ago(moment: datetime | None) -> str:
    """How long ago it was, as the server's clock has it."""
    return since(timezone.now(), moment)


@register.filter
def elapsed(job: Job) -> str:
    """How long it has run, or waits, as this moment has it; in the browser the clock goes on from there."""
    if job.started_at is not None:
        return since(job.finished_at or timezone.now(), job.started_at)
    return "" if job.finished_at is not None else f"waits {ago(job.created_at)}"


@register.filter
def measure(value: float | None, unit: str) -> str:
    """A figure with its unit: s for times, % for shares, nothing for counts; "–" where nothing is known."""
    if value is None:
        return "–"
    if unit == "s":
        return duration(value)
    return f"{value:.0f} %" if unit == "%" else number(value)


@register.filter
def number(value: float | None) -> str:
    """At most one decimal, and thousands apart: "12", "0.5", "1 234 567" (with narrow spaces)."""
    if value is None:
        return "–"
    text = f"{value:,.0f}" if abs(value) >= 100 or value == round(value) else f"{value:,.1f}"
    return text.replace(",", "\u202f")


@register.filter
def compact(value: float) -> str:
    """A count that takes little room: "950", "12.4k", "1.2M"."""
    for least, unit in ((1_000_000, "M"), (10_000, "k")):
        if value >= least:
            return f"{value / (1000 if unit == 'k' else least):.1f}{unit}"
    return number(value)


@register.filter
def milliseconds(value: float | None) -> str:
    return "–" if value is None else duration(value / 1000)


@register.filter
def changes(entry: AuditEntry) -> list[tuple[str, str, str]]:
    """What an audit entry changed: name, before, after; "" where there was nothing."""
    before, after = entry.before or {}, entry.after or {}
    said = [(name, _said(before, name), _said(after, name)) for name in dict.fromkeys([*before, *after])]
    return [(name, was, now) for name, was, now in said if was != now]


def _said(values: dict[str, Any], name: str) -> str:
    value = values.get(name)
    if value is None:
        return "none" if name in values else ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@register.filter
def memory(megabytes: float | None) -> str:
    """As people say it: "640 MB", "1.2 GB"."""
    if megabytes is None:
        return "–"
    return f"{megabytes:.0f} MB" if megabytes < 1000 else f"{megabytes / 1024:.1f} GB"


@register.filter
def change(now: float | None, before: float | None) -> float | None:
    """By how much, as a share: 0.25 is a quarter more; None where one is missing or the difference is noise."""
    if not before or now is None:
        return None
    share = now / before - 1
    return share if abs(share) >= 0.05 else None


@register.filter
def size(share: float) -> str:
    """A change without its direction: 25 %, 3 times."""
    return f"{abs(share):.0%}".replace("%", " %") if share < 2 else f"{share + 1:.0f} times"


@register.filter
def tone(share: float, good: str) -> str:
    """The status whose colour says whether the change is a good one; `good` is more or less."""
    return "completed" if (share > 0) == (good == "more") else "failed"


@register.filter
def millis(moment: datetime | None) -> str:
    """Epoch milliseconds, for clocks that tick in the browser."""
    return "" if moment is None else str(round(moment.timestamp() * 1000))


@register.filter
def as_json(value: Any) -> str:
    """Indented, without what is sealed, and cut for show; the whole is a link away."""
    text = json.dumps(sealing.covered(value), indent=2, ensure_ascii=False)
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "\n…"


@register.filter
def get(mapping: dict[Any, Any] | None, key: str | int) -> Any:
    """None where there is no mapping either: a template asks on through what is missing."""
    return mapping.get(key) if isinstance(mapping, dict) else None
