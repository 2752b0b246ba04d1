"""Bearer tokens: made once, shown once, kept as a digest."""

from __future__ import annotations

import functools
import hashlib
import re
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from jobs import audit, sight
from jobs.errors import NotFound, Problem, Refused
from jobs.models import ApiToken
from jobs.sight import EVERYTHING, Sight

READ, SUBMIT, REPORT, CONTROL, ADMIN = "jobs:read", "jobs:submit", "jobs:report", "jobs:control", "admin"
SCOPES = (READ, SUBMIT, REPORT, CONTROL, ADMIN)
DEFAULT_SCOPES = (READ, SUBMIT, CONTROL)
MEANINGS = {
    READ: "look at jobs and figures",
    SUBMIT: "hand in jobs",
    REPORT: "run jobs and report on them, as a worker",
    CONTROL: "cancel, retry, pause and move jobs",
    ADMIN: "everything, also configuration and limits",
}

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@-]{0,99}")
_SHAPE = re.compile(r"jst_[A-Za-z0-9_-]{43}")
# So often the time of last use is written at most: a poller must not cost a write a request.
USED_EVERY = timedelta(minutes=1)


class UnusableToken(Refused):
    """A token that cannot be made as asked."""

    code, title = "unusable-token", "The token cannot be made"


class TakenName(UnusableToken):
    """Names are never used twice, so that the history of jobs says whose they were."""

    code, title, http_status = "taken-name", "There is a token of this name", 409


def make(
    name: str,
    *,
    by: str,
    scopes: Iterable[str] = DEFAULT_SCOPES,
    expires_at: datetime | None = None,
    tools: Iterable[str] = (),
    projects: Iterable[str] = (),
) -> tuple[ApiToken, str]:
    """A new token and its secret, which is not kept anywhere. Raises `UnusableToken`.

    With `tools` or `projects` it sees, and can do something about, jobs of these only.
    """
    wanted = [scope for scope in SCOPES if scope in set(scopes)]
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not wanted:
        raise UnusableToken(f"unknown scope {', '.join(unknown) or '(none)'}; there are {', '.join(SCOPES)}")
    if not NAME.fullmatch(name):
        raise UnusableToken(
            "a token's name has 1 to 100 letters, digits, blanks or . _ @ - and begins with a letter or digit",
            [Problem(detail="not a name", pointer="/name")],
        )
    secret = f"jst_{secrets.token_urlsafe(32)}"
    try:
        with transaction.atomic():
            token = ApiToken.objects.create(
                name=name,
                prefix=secret[:8],
                digest=digest(secret),
                scopes=wanted,
                expires_at=expires_at,
                tools=sorted(set(tools)),
                projects=sorted(set(projects)),
            )
            limits = {kind: names for kind, names in (("tools", token.tools), ("projects", token.projects)) if names}
            said = {"scopes": wanted, "expires": str(expires_at or "never")} | limits
            audit.note("make token", f"token {name}", by=by, after=said)
    except IntegrityError:
        raise TakenName(f"there is a token named {name!r} already; names are never used twice") from None
    return token, secret


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def verify(secret: str) -> ApiToken | None:
    """The token with this secret if it may be used now; notes that it was used."""
    if not _SHAPE.fullmatch(secret):
        return None
    token = _current(digest(secret))
    now = timezone.now()
    if token is None or not usable(token, now):
        return None
    if token.last_used_at is None or now - token.last_used_at >= USED_EVERY:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=Now())
    return token


def _current(hashed: str) -> ApiToken | None:
    """The row as it is now, so a revoked token is refused at once. Asking whether it is the same costs a third of reading it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT xmin::text || ctid::text, owner_id FROM jobs_apitoken WHERE digest = %s", [hashed])
        found = cursor.fetchone()
    if found is None:
        return None
    version, owner = found
    # Its owner may change without it.
    return _read(hashed) if owner is not None else _unchanged(hashed, version)


@functools.lru_cache(maxsize=1000)
def _unchanged(hashed: str, _version: str) -> ApiToken | None:
    return _read(hashed)


def _read(hashed: str) -> ApiToken | None:
    return ApiToken.objects.select_related("owner").filter(digest=hashed).first()


def usable(token: ApiToken, now: datetime) -> bool:
    """Neither revoked nor expired, and whoever owns it may still sign in."""
    expired = token.expires_at is not None and token.expires_at <= now
    return token.revoked_at is None and not expired and (token.owner is None or token.owner.is_active)


def sight_of(token: ApiToken) -> Sight:
    """Never more than its owner sees."""
    whole = EVERYTHING if token.owner is None else sight.sight_of(token.owner)
    return whole.narrowed(projects=token.projects or None, tools=token.tools or None)


def revoke(name: str, *, by: str) -> bool:
    """From now on the token is refused; false when it was revoked before. Raises `NotFound`."""
    with transaction.atomic():
        if ApiToken.objects.filter(name=name, revoked_at=None).update(revoked_at=Now()):
            audit.note("revoke token", f"token {name}", by=by)
            return True
    if not ApiToken.objects.filter(name=name).exists():
        raise NotFound(f"there is no token named {name!r}")
    return False


def every() -> list[ApiToken]:
    """All tokens by name."""
    return list(ApiToken.objects.order_by("name"))
