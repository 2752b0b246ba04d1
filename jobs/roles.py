"""The three roles, as Django groups: what each may do. A migration makes them; an administrator may change them."""

from __future__ import annotations

from typing import Any

SUBMIT, CONTROL, ADMINISTER, AUDIT = "jobs.submit_job", "jobs.control_job", "jobs.administer", "jobs.view_auditentry"

_LOOKED_AT = ("job", "taskjob", "attempt", "event", "dependency", "jobmetrics", "worker", "queueconfig", "grouprule")
_LOOK = tuple(f"view_{model}" for model in _LOOKED_AT)
# Whoever may sign in may look; the viewer's permissions open the admin for those who are staff too.
ROLES: dict[str, tuple[str, ...]] = {
    "viewer": _LOOK,
    "operator": (*_LOOK, "submit_job", "control_job"),
    "administrator": (
        *(*_LOOK, "submit_job", "control_job", "administer", "view_auditentry"),
        *(f"{verb}_{model}" for model in ("apitoken", "projectaccess") for verb in ("view", "add", "change", "delete")),
    ),
}


def make(groups: Any, permissions: Any) -> None:
    """Make or complete the groups. Takes the managers, because a migration has its own."""
    for role, codenames in ROLES.items():
        group, _ = groups.get_or_create(name=role)
        group.permissions.add(*permissions.filter(content_type__app_label="jobs", codename__in=codenames))
