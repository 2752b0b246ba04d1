"""Server-sent events, out of the lines of a stream."""

from __future__ import annotations

import json
from dataclasses import dataclass

from jobsite_client.link import Link, accepted
from jobsite_client.plans import Call, Line, NextLine, Plan
from jobsite_client.shapes import Json

# The server says something at least every 15 seconds.
QUIET = 40.0


@dataclass(frozen=True, kw_only=True)
class ServerEvent:
    """`data` is None where only the place in the stream was told."""

    kind: str
    data: Json


def listen(link: Link, path: str, *, within: float | None = None) -> Plan[bool]:
    """Open a stream, in which the next line comes `within` so many seconds or not at all. False: there is nothing to come."""
    hold = QUIET if within is None else min(QUIET, within)
    headers = {"Accept": "text/event-stream"}
    answer = yield from accepted(link, Call(method="GET", path=path, headers=headers, hold=hold, stream=True))
    return answer.status == 200


def heard() -> Plan[ServerEvent | None]:
    """The next event; None when the stream is over, or broke."""
    kind, lines = "message", []
    while True:
        reply = yield NextLine()
        if not isinstance(reply, Line):
            return None
        name, _, value = reply.text.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "data":
            lines.append(value)
        elif not reply.text:
            return ServerEvent(kind=kind, data=json.loads("\n".join(lines)) if lines else None)
