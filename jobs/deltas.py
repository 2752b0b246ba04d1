"""Reports on jobs, and what is kept of each job: merged so that nothing goes backwards and no line is lost."""

from __future__ import annotations

import math
from collections import OrderedDict
from enum import Enum
from typing import Any

from jobs.events import Delta

MOST_LINES = 200
# A kept state is about a kilobyte.
MOST_KEPT = 10_000


def version_of(delta: Delta) -> tuple[int, int]:
    version, tick = delta["v"]
    return version, tick


def is_newer(delta: Delta, than: Delta) -> bool:
    return version_of(delta) > version_of(than)


def is_whole(delta: Delta) -> bool:
    """A move tells everything; a progress report does not."""
    return "status" in delta


def merge(kept: Delta | None, news: Delta) -> Delta:
    """The latest of two reports on one job. Every move has a newer version, so a late report undoes none; lines add up."""
    if kept is None:
        return news
    lines = [*kept.get("diagnostics", []), *news.get("diagnostics", [])][-MOST_LINES:]
    older, newer = (kept, news) if is_newer(news, kept) else (news, kept)
    # A progress report carries no status: what the last move said stands. It must be of the same version to count.
    merged: dict[str, Any] = {**older, **newer} if version_of(older)[0] == version_of(newer)[0] or is_whole(newer) else {**newer}
    if lines:
        merged["diagnostics"] = lines
    return Delta(**merged)  # type: ignore[typeddict-item, no-any-return]


def with_lines(delta: Delta, lines: list[str]) -> Delta:
    return {**delta, "diagnostics": lines} if lines else delta


class Weight(Enum):
    """What a report is worth beside what is known."""

    NEWS = "news"
    OLD = "old"
    TORN = "torn"  # progress of a job whose last move was never heard: its status must be read first


class Memory:
    """The newest whole state of each job, without its lines. The jobs not heard of for longest are forgotten."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._kept: OrderedDict[str, Delta] = OrderedDict()
        self._moved_at: dict[str, float] = {}
        # What moved since then is all here; monotonic seconds. Never, before the hub says that it listens.
        self.complete_since = math.inf

    def __len__(self) -> int:
        return len(self._kept)

    def weigh(self, delta: Delta) -> Weight:
        kept = self._kept.get(delta["id"])
        if is_whole(delta):
            return Weight.NEWS if kept is None or _is_another(delta, kept) or is_newer(delta, kept) else Weight.OLD
        if kept is None or version_of(delta)[0] > version_of(kept)[0]:
            return Weight.TORN
        # A diagnostic line alone does not move the tick.
        same_with_lines = version_of(delta) == version_of(kept) and bool(delta.get("diagnostics"))
        return Weight.NEWS if is_newer(delta, kept) or same_with_lines else Weight.OLD

    def get(self, job_id: str) -> Delta | None:
        """All that is known of a job."""
        return self._kept.get(job_id)

    def moved_since(self, moment: float) -> list[Delta] | None:
        """Every job that changed since then; None when that was before this memory began, or some were forgotten since."""
        if moment < self.complete_since:
            return None
        return [kept for job, kept in self._kept.items() if self._moved_at[job] >= moment]

    def keep(self, delta: Delta, *, at: float = 0.0) -> None:
        """Only what weighed as news: so what is kept is always whole. `at` is when it was heard, 0 for what was only read."""
        kept = self._kept.pop(delta["id"], None)
        merged: dict[str, Any] = {**delta} if kept is None or is_whole(delta) else {**kept, **delta}
        merged.pop("diagnostics", None)
        self._kept[delta["id"]] = Delta(**merged)  # type: ignore[typeddict-item]
        self._moved_at[delta["id"]] = max(at, self._moved_at.get(delta["id"], 0.0))
        if len(self._kept) > self._most:
            forgotten, _ = self._kept.popitem(last=False)
            self.complete_since = max(self.complete_since, self._moved_at.pop(forgotten))

    def newest(self, read: Delta) -> Delta:
        """What the database said, or what was heard since: progress is stored less often than it is told."""
        kept = self._kept.get(read["id"])
        return kept if kept is not None and not _is_another(read, kept) and is_newer(kept, read) else read

    def clear(self) -> None:
        self._kept.clear()
        self._moved_at.clear()
        self.complete_since = math.inf


def _is_another(delta: Delta, kept: Delta) -> bool:
    """A job that was cleaned away and whose id its caller used again: its versions begin anew."""
    return delta.get("created", 0) > kept.get("created", 0)


def checked(item: object) -> Delta | None:
    """A delta off the wire, or None for what is none: whatever else is published there must not stop the hub."""
    if not isinstance(item, dict) or not isinstance(item.get("id"), str):
        return None
    v = item.get("v")
    if not (isinstance(v, list) and len(v) == 2 and all(isinstance(n, int) for n in v)):
        return None
    lines = item.get("diagnostics", [])
    if not (isinstance(lines, list) and isinstance(item.get("created", 0), int)):
        return None
    return Delta(**item)  # type: ignore[typeddict-item]
