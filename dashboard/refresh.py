"""Facts that pages which stay open ask for again and again: all of them in one process share an answer for two seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest

from jobs.briefly import briefly

Facts = dict[str, Any]


def shared(read: Callable[[], Facts]) -> Callable[[HttpRequest], Facts]:
    """Who opens a page, or comes back from a form, gets the facts of this moment."""
    kept = briefly(2.0)(read)
    return lambda request: kept() if request.headers.get("X-Refresh") else read()
