"""Whether to send a request again, decided purely."""

from __future__ import annotations

from dataclasses import dataclass

from jobsite_client.plans import Answer, Call, Unanswered

# The server, or a proxy before it, did not take the request, or may not have.
PASSING = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """`tries` in all; before the next one `first` seconds, doubled each time up to `longest`, of which a random part is waited."""

    tries: int = 5
    first: float = 0.25
    longest: float = 10.0


def pause_before_next(call: Call, reply: Answer | Unanswered, *, tries: int, backoff: Backoff, chance: float) -> float | None:
    """Seconds to wait before the next try, after `tries` of them; None when there is to be none. `chance` is random, 0..1.

    `Retry-After` is honoured, up to `longest`. What must not be done twice is sent again only when it cannot have been done.
    """
    if tries >= backoff.tries or not _again(call, reply):
        return None
    most = min(backoff.longest, backoff.first * 2.0 ** (tries - 1))
    wait = most * (0.5 + chance / 2)
    asked = retry_after(reply) if isinstance(reply, Answer) else None
    return min(backoff.longest, max(wait, asked or 0.0))


def _again(call: Call, reply: Answer | Unanswered) -> bool:
    match reply:
        case Unanswered(sent=sent):
            return call.repeatable or not sent
        case Answer(status=429):
            return True
        case Answer(status=status):
            return call.repeatable and status in PASSING


def retry_after(answer: Answer) -> float | None:
    """The seconds of the header `Retry-After`; None without it."""
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else None
