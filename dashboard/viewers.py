"""Who watches, and what: a connection as the hub sees it, and the topics that share their frames."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from jobs.deltas import MOST_LINES
from jobs.events import Delta
from jobs.sight import EVERYTHING, Sight

# A client with this many frames on the way gets no more until it acknowledges; after this long it is let go. Seconds.
MOST_UNACKED = 20
SILENT_FOR = 30.0

ALL = "jobs"
# What the door lets in: every job, one job, or the jobs of a batch or a project.
NAMES = r"^(jobs|job:[A-Za-z0-9][A-Za-z0-9._:-]{0,63}|(batch|project):[^\x00]{1,100})$"


@dataclass(frozen=True)
class Topic:
    """What a page shows, as far as its viewer may see it. Equal topics share one encoded frame."""

    name: str
    sight: Sight = EVERYTHING
    # Of a job's page: the jobs around it, and whether it says something of the line that the job waits in.
    beside: frozenset[str] = frozenset()
    line: bool = False

    @property
    def job(self) -> str:
        """The id, where it is one job's topic."""
        return self.name.removeprefix("job:") if self.name.startswith("job:") else ""

    def shows(self, whole: Delta) -> bool:
        """`whole` tells everything about a job, as a move does."""
        if not self.sight.covers(whole.get("project", ""), whole.get("tool", "")):
            return False
        if self.job:
            return whole["id"] == self.job or whole["id"] in self.beside
        kind, _, name = self.name.partition(":")
        return kind == ALL or whole[kind] == name  # type: ignore[literal-required]


@dataclass(eq=False)
class Client:
    """One connection: a socket, or a stream of server-sent events."""

    send: Callable[[str], Awaitable[None]]
    close: Callable[[int], Awaitable[None]]
    session_key: str
    user_id: int
    sight: Sight = EVERYTHING
    topic: Topic = Topic("")
    ids: list[str] = field(default_factory=list)
    sent: int = 0
    acked: int = 0
    waiting_since: float = 0.0
    behind: bool = False
    behind_since: float = 0.0
    missed: list[str] = field(default_factory=list)

    @property
    def holder(self) -> tuple[str, int]:
        return self.session_key, self.user_id

    @property
    def full(self) -> bool:
        return self.sent - self.acked >= MOST_UNACKED

    def is_silent(self, now: float) -> bool:
        return self.sent > self.acked and now - self.waiting_since > SILENT_FOR

    def fall_behind(self, since: float, lines: list[str]) -> None:
        """Something was not sent: a snapshot makes up for it, and it brings the lines along."""
        if not self.behind:
            self.behind, self.behind_since = True, since
        self.missed = [*self.missed, *lines][-MOST_LINES:]
