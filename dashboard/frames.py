"""What the hub keeps of each job between two frames: merged so that nothing goes backwards and no line is lost."""

from __future__ import annotations

from typing import Any

from jobs.events import Delta

MOST_LINES = 200


def version_of(delta: Delta) -> tuple[int, int]:
    version, tick = delta["v"]
    return version, tick


def is_newer(delta: Delta, than: Delta) -> bool:
    return version_of(delta) > version_of(than)


def merge(kept: Delta | None, news: Delta) -> Delta:
    """The latest of two reports on one job. Every move has a newer version, so a late report undoes none; lines add up."""
    if kept is None:
        return news
    lines = [*kept.get("diagnostics", []), *news.get("diagnostics", [])][-MOST_LINES:]
    older, newer = (kept, news) if is_newer(news, kept) else (news, kept)
    # A progress report carries no status: what the last move said stands. It must be of the same version to count.
    merged: dict[str, Any] = {**older, **newer} if version_of(older)[0] == version_of(newer)[0] or "status" in newer else {**newer}
    if lines:
        merged["diagnostics"] = lines
    return Delta(**merged)  # type: ignore[typeddict-item, no-any-return]


def checked(item: object) -> Delta | None:
    """A delta off the wire, or None for what is none: whatever else is published there must not stop the hub."""
    if not isinstance(item, dict) or not isinstance(item.get("id"), str):
        return None
    v = item.get("v")
    if not (isinstance(v, list) and len(v) == 2 and all(isinstance(n, int) for n in v)):
        return None
    return Delta(**item)  # type: ignore[typeddict-item]
