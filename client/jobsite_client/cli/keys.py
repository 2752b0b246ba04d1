"""Single keys from the terminal, without waiting for Enter."""

from __future__ import annotations

import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def single_keys() -> Iterator[None]:
    """While inside, keys come at once; the terminal is put back as it was, also after an error."""
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def pressed(within: float) -> str:
    """The key that was pressed within so many seconds, "" for none."""
    ready, _, _ = select.select([sys.stdin], [], [], within)
    return sys.stdin.read(1) if ready else ""
