"""Changes to the queue as a whole: limits and pauses of groups, and the configuration. Each is noted, and holds at once.

Once such a change has returned, no job starts against it: the row of the configuration is locked first, which admission
shares, and attempts that were admitted but not begun are withdrawn. The next round decides anew.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from jobs import audit, configuration, events, lifecycle, payloads
from jobs.errors import Conflict, InvalidRequest, NotFound, Problem
from jobs.limits import GroupKind
from jobs.models import GroupRule, QueueConfig, Worker
from jobs.payloads import Json


def pause(kind: GroupKind, name: str = "", *, by: str, reason: str = "") -> GroupRule:
    """No job of the group starts any more; those that run go on. Raises `InvalidRequest`."""
    return _change(kind, name, {"paused_at": Now(), "paused_by": by, "pause_reason": _text(reason)}, "pause", by)


def resume(kind: GroupKind, name: str = "", *, by: str) -> GroupRule:
    """Take back a pause. Raises `InvalidRequest`."""
    return _change(kind, name, {"paused_at": None, "paused_by": "", "pause_reason": ""}, "resume", by)


def limit(kind: GroupKind, name: str, *, max_running: int | None, per_minute: int | None, by: str) -> GroupRule:
    """Set both limits of a group; None is no limit. Raises `InvalidRequest`."""
    for field, value, least in (("maxRunning", max_running, 0), ("perMinute", per_minute, 1)):
        if value is not None and not least <= value <= 1_000_000:
            detail = f"{field} must be from {least} to 1000000, or null for no limit"
            raise InvalidRequest(detail, [Problem(detail=detail, pointer=f"/{field}")])
    return _change(kind, name, {"max_running": max_running, "per_minute": per_minute}, "limit", by)


def drain(worker: str, *, by: str) -> Worker:
    """From its next beat on (within five seconds) the worker takes nothing new; what it runs goes on. Raises `NotFound`."""
    return _mark(worker, {"draining_at": Now(), "drained_by": by}, "drain", by)


def undrain(worker: str, *, by: str) -> Worker:
    """The worker takes jobs again. Raises `NotFound`."""
    return _mark(worker, {"draining_at": None, "drained_by": ""}, "undrain", by)


def _mark(name: str, values: dict[str, Any], action: str, by: str) -> Worker:
    with transaction.atomic():
        worker = Worker.objects.select_for_update().filter(name=name).first() if "\x00" not in name else None
        if worker is None:
            raise NotFound(f"there is no worker {payloads.clean_text(name, 64)!r}")
        before = {"draining": worker.draining_at is not None}
        Worker.objects.filter(pk=worker.pk).update(**values)
        audit.note(action, name, by=by, before=before, after={"draining": action == "drain"})
        events.tell_of_the_line()
    worker.refresh_from_db()
    return worker


def configure(changes: dict[str, Json], *, version: int, by: str) -> QueueConfig:
    """Change columns of the configuration. `version` is the one that the editor saw.

    Raises `InvalidRequest`, with the column's name as pointer, or `Conflict` when somebody else was faster.
    """
    configuration.row()
    with transaction.atomic():
        row = QueueConfig.objects.select_for_update().get(id=1)
        if row.version != version:
            raise Conflict(f"the configuration was changed meanwhile: you saw version {version}, it has version {row.version}")
        before = {name: getattr(row, name) for name in COLUMNS}
        # Checked as a whole: a longest delay must fit the first one also where only one of them changes.
        if faults := configuration.faults(before | changes):
            problems = [Problem(detail=detail, pointer=f"/{name}") for name, detail in faults]
            raise InvalidRequest("; ".join(f"{name}: {detail}" for name, detail in faults[:3]), problems)
        different = {name: value for name, value in changes.items() if value != before[name]}
        if not different:
            return row
        for name, value in different.items():
            setattr(row, name, value)
        if "priority_weights" in different:
            row.ranked_to = datetime.min.replace(tzinfo=UTC)  # the dispatcher ranks all anew, the oldest first
        row.version += 1
        row.save()
        was = {name: before[name] for name in different}
        audit.note("configure", "queue configuration", by=by, before=was, after=different)
        lifecycle.withdraw(by=by, reason="the configuration was changed")
        events.tell_of_the_line()
    return row


COLUMNS = [*configuration.BOUNDS, *configuration.TABLES]


def every_rule() -> list[GroupRule]:
    """Every group that has a limit or a pause."""
    return list(GroupRule.objects.order_by("kind", "name"))


def _change(kind: GroupKind, name: str, values: dict[str, Any], action: str, by: str) -> GroupRule:
    _check_name(kind, name)
    configuration.row()
    with transaction.atomic():
        lifecycle.lock_configuration()
        rule, _ = GroupRule.objects.get_or_create(kind=kind, name=name)
        before = _shown(rule)
        for field, value in values.items():
            setattr(rule, field, value)
        rule.save()
        rule.refresh_from_db()
        audit.note(action, str(rule), by=by, before=before, after=_shown(rule))
        lifecycle.withdraw(by=by, reason=f"{action} {rule}")
        events.tell_of_the_line()
    return rule


def _check_name(kind: GroupKind, name: str) -> None:
    if kind not in GroupKind.values:
        detail = f"kind is one of {', '.join(GroupKind.values)}"
        raise InvalidRequest(detail, [Problem(detail=detail, pointer="/kind")])
    if (kind == GroupKind.ALL) != (name == ""):
        detail = "all jobs have no name" if name else f"say which {kind}: the name is missing"
        raise InvalidRequest(detail, [Problem(detail=detail, pointer="/name")])
    payloads.check(name, what="name", max_bytes=1000)
    if len(name) > 100:
        raise InvalidRequest("a name has at most 100 characters", [Problem(detail="too long", pointer="/name")])


def _text(reason: str) -> str:
    return payloads.clean_text(reason, 500)


def _shown(rule: GroupRule) -> dict[str, Any]:
    return {
        "maxRunning": rule.max_running,
        "perMinute": rule.per_minute,
        "paused": rule.paused_at is not None,
        "reason": rule.pause_reason,
    }
