"""Text from jobs, made harmless: an escape sequence in a message must not steer somebody's terminal."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """`text` without control characters and overrides of its direction; lines and tabs stay."""
    return _CONTROL.sub("�", text)


def one_line(text: str, most: int = 200) -> str:
    line = " ".join(plain(text).split())
    return line if len(line) <= most else line[: most - 1] + "…"
