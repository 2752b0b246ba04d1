"""What a failure is recognised by: its class, its message without what differs each time, and the place it came from."""

from __future__ import annotations

import hashlib
import re
import sys
import sysconfig
import traceback
from dataclasses import dataclass

from jobs.errors import Category

MAX_PLACE = 300
_MAX_MESSAGE = 300

# Order matters: what is long and special first. Each leaves a word in its place, so that the text can still be read.
_VARYING = [
    (re.compile(r"[a-z][a-z0-9+.-]*://[^\s'\"<>]+", re.I), "<url>"),
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.I), "<uuid>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"), "<time>"),
    (re.compile(r"'[^'\n]{0,1000}'|\"[^\"\n]{0,1000}\""), "<text>"),
    (re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b"), "<address>"),
    (re.compile(r"(?<![\w/<])/[\w.@+-]+(?:/[\w.@+-]*)*"), "<path>"),
    (re.compile(r"\b0x[0-9a-f]+\b", re.I), "<hex>"),
    # An id: a long word of letters and digits mixed.
    (re.compile(r"\b(?=[\w-]*\d)(?=[\w-]*[a-z])[\w-]{8,}\b", re.I), "<id>"),
    (re.compile(r"[+-]?\b\d+(?:[.,]\d+)*(?:e[+-]?\d+)?", re.I), "<n>"),
]

_LIBRARIES = tuple(
    {f"{path}/" for name in ("stdlib", "platstdlib", "purelib", "platlib") if (path := sysconfig.get_paths().get(name))}
    | {f"{sys.base_prefix}/lib/", f"{sys.prefix}/lib/"}
)
# Ours: what calls a tool is never to blame for it.
_CALLERS = frozenset({"jobs.execution", "asyncio.runners", "asyncio.base_events"})


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why an attempt failed; the texts are storable already. `place` is `module:function`, "" where there is none."""

    category: Category
    error_class: str
    message: str
    traceback: str = ""
    place: str = ""

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.error_class, self.message, self.place)


def fingerprint(error_class: str, message: str, place: str) -> str:
    """16 hex digits, equal for failures that people would call the same."""
    return hashlib.sha256("\0".join((error_class, normalised(message), place)).encode()).hexdigest()[:16]


def normalised(message: str) -> str:
    """The first line without what differs from one time to the next: numbers, ids, paths, quoted texts."""
    line = message.strip().split("\n", 1)[0][:2000]
    for pattern, word in _VARYING:
        line = pattern.sub(word, line)
    return " ".join(line.split())[:_MAX_MESSAGE]


def place_of(error: BaseException) -> str:
    """The innermost function of the tool's own code, or else of any; without line numbers, which move with every edit."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    frames = [frame for frame in frames if frame.f_globals.get("__name__") not in _CALLERS]
    own = [frame for frame in frames if not frame.f_code.co_filename.startswith((*_LIBRARIES, "<"))]
    found = (own or frames)[-1:]
    return "".join(f"{frame.f_globals.get('__name__', '?')}:{frame.f_code.co_qualname}" for frame in found)[:MAX_PLACE]
