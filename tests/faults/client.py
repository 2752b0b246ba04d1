"""A client as others would write it, in a process of its own: `python -m tests.faults.client OPTIONS`.

Submits by a key of its own for each job. What came back is noted in the history; an error leaves the outcome unknown, and the
same key is sent again until it is known.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import django

django.setup()

from django.db import DatabaseError, InterfaceError, connection  # noqa: E402  (needs Django set up)

from jobs.lifecycle import Submission, submit_once  # noqa: E402
from tests.faults.history import History  # noqa: E402


def submit_all(prefix: str, count: int, rate: float, wanted: dict[str, object]) -> None:
    """`count` jobs, at most `rate` a second (0: as fast as it goes)."""
    history = History.of_environment()
    began = time.monotonic()
    for number in range(count):
        if rate:
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
        submit_one(history, f"{prefix}-{number}", wanted)


def submit_one(history: History, key: str, wanted: dict[str, object]) -> None:
    submission = Submission(task_id=key, **wanted)  # type: ignore[arg-type]
    history.note("submitting", key=key)
    while True:
        began = time.monotonic()
        try:
            (job,), _ = submit_once([submission], by="client", key=key, digest=key)
        except (DatabaseError, InterfaceError) as error:
            cause = type(error.__cause__ or error).__name__  # the driver's own word for it
            history.note("unknown", key=key, seconds=time.monotonic() - began, error=cause)
            connection.close()
            time.sleep(0.1)
        else:
            history.note("acknowledged", key=key, job=job.id, seconds=time.monotonic() - began)
            return


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--wanted", type=json.loads, required=True)
    parser.add_argument("--armed", action="store_true", help="wait for a line on standard input first")
    options = parser.parse_args()
    if options.armed:
        History.of_environment().note("armed")
        sys.stdin.readline()
    submit_all(options.prefix, options.count, options.rate, options.wanted)
