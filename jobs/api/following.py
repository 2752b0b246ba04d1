"""What a view says to the holder of requests (jobs.api.holding): wait until something changes, or go on as a stream.

Under a server that cannot hold requests (WSGI) there is nobody to say it to: then every request is answered at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse

from jobs.events import Delta
from jobs.models import Job
from jobs.sight import Sight
from jobs.states import FINAL

LONGEST_WAIT = 30
SLOT = "jobs.following"


@dataclass(frozen=True, kw_only=True)
class Topic:
    """The jobs whose changes matter: one, those of a batch or project, those that a worker may claim, or all of a sight."""

    kind: str  # job, batch, project, claim or all
    names: frozenset[str] = frozenset()

    def has(self, whole: Delta) -> bool:
        """`whole` tells everything about a job."""
        match self.kind:
            case "job":
                return whole["id"] in self.names
            case "batch" | "project":
                return whole.get(self.kind) in self.names
            case "claim":
                return whole.get("starting", False) and whole.get("tool") in self.names
        return True


@dataclass(kw_only=True)
class Hold:
    """Answer later: when a job of `topic` moves past the version that the answer in hand knows, or not before it has ended.

    With `answer`, a job as it is then is made into the response at once; without, the whole request is asked again.
    """

    topic: Topic
    seen: tuple[int, int] = (0, 0)
    to_the_end: bool = False
    answer: Callable[[Job], HttpResponse] | None = None
    # Seconds: not answered sooner, so that a busy group makes few answers; and asked again without a push.
    pause: float = 0.0
    # A push is only a hint: the view is asked whether it was news, and may wish to go on.
    again_when_woken: bool = False
    again_after: float = LONGEST_WAIT

    def is_over(self, whole: Delta) -> bool:
        if not self.topic.has(whole):
            return False
        if self.to_the_end:
            return whole["status"] in FINAL
        return self.topic.kind != "job" or whole["v"][0] > self.seen[0]

    def is_over_at(self, job: Job) -> bool:
        return job.is_final if self.to_the_end else (job.version, job.progress_tick) > self.seen


@dataclass(kw_only=True)
class Stream:
    """Go on with server-sent events, after what was sent up to `position`."""

    topic: Topic
    sight: Sight
    position: str | None


class Following:
    """Carried in the ASGI scope of a request; `wait` is the seconds that are left to hold it."""

    def __init__(self, wait: float) -> None:
        self.wait = wait
        self.hold: Hold | None = None
        self.stream: Stream | None = None


def of(request: HttpRequest) -> Following | None:
    """None: this server answers every request at once."""
    found: Following | None = getattr(request, "scope", {}).get(SLOT)
    return found
