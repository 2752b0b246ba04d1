"""JSON that folds: objects and lists open and close, everything in it escaped."""

from __future__ import annotations

import json
from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from jobs import sealing

register = template.Library()

# Nodes that are drawn, and characters of one text; the whole is a link away.
MOST_NODES, MOST_TEXT, OPEN_UNTIL = 600, 4000, 2


@register.filter
def folding(value: Any) -> SafeString:
    """Nested `details`; the outer levels open."""
    return _drawn(sealing.covered(value), 0, [MOST_NODES])


def _drawn(value: Any, depth: int, left: list[int]) -> SafeString:
    left[0] -= 1
    if isinstance(value, dict | list) and value:
        return _nested(value, depth, left)
    return _leaf(value)


def _nested(value: dict[str, Any] | list[Any], depth: int, left: list[int]) -> SafeString:
    pairs = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    shown = []
    for key, item in pairs:
        if left[0] <= 0:
            break
        shown.append((key, _drawn(item, depth + 1, left)))
    rows = format_html_join("", '<li><span class="key">{}</span>{}</li>', shown)
    missing = len(pairs) - len(shown)
    more = format_html('<li class="sub">… {} more</li>', missing) if missing else SafeString("")
    about = f"{{{len(pairs)}}}" if isinstance(value, dict) else f"[{len(pairs)}]"
    is_open = SafeString(" open") if depth < OPEN_UNTIL else ""
    return format_html('<details class="node"{}><summary>{}</summary><ul>{}{}</ul></details>', is_open, about, rows, more)


def _leaf(value: Any) -> SafeString:
    kind = {str: "text", bool: "truth", type(None): "none"}.get(type(value), "figure")
    text = json.dumps(value, ensure_ascii=False)
    return format_html('<span class="value {}">{}</span>', kind, text if len(text) <= MOST_TEXT else text[:MOST_TEXT] + "…")
