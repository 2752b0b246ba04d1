"""Answers that hold for some seconds, shared by all who look at this process: a hundred open pages ask the database once."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Hashable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_kept: list[dict[Hashable, tuple[float, object]]] = []


def briefly(seconds: float) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Keep what the function gave for these arguments. They are few by nature: a range, a kind of group."""

    def decorated(function: Callable[P, T]) -> Callable[P, T]:
        answers: dict[Hashable, tuple[float, T]] = {}
        lock = threading.Lock()
        _kept.append(answers)  # type: ignore[arg-type]  # only emptied there

        @functools.wraps(function)
        def asked(*args: P.args, **named: P.kwargs) -> T:
            question: Hashable = (args, tuple(sorted(named.items())))
            # One asks, the others wait for its answer.
            with lock:
                at, answer = answers.get(question, (0.0, None))
                if answer is None or time.monotonic() - at > seconds:
                    answer = function(*args, **named)
                    answers[question] = (time.monotonic(), answer)
                return answer

        return asked

    return decorated


def forget() -> None:
    """Ask anew: for tests, which change the past."""
    for answers in _kept:
        answers.clear()
