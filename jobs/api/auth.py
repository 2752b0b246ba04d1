"""Who calls, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest
from ninja.security import HttpBearer
from ninja.utils import check_csrf

from jobs import roles, tokens
from jobs.api.problems import Forbidden, Unauthenticated
from jobs.models import ApiToken
from jobs.sight import EVERYTHING, Sight, sight_of


@dataclass(frozen=True, kw_only=True)
class Caller:
    """`name` is what the history of a job shows; `sight` are the jobs that there are for this caller."""

    name: str
    scopes: frozenset[str]
    sight: Sight = EVERYTHING


class ApiRequest(HttpRequest):
    """A request that came in through `door.guard`."""

    caller: Caller


def caller_of(request: HttpRequest) -> Caller:
    """The caller by bearer token, else by session. Raises `Unauthenticated`, or `Forbidden` for a forged form.

    A token is proof by itself. A session is sent by the browser whoever wrote the page, so writes need the CSRF token.
    """
    header = request.headers.get("Authorization")
    if header is not None:
        return _by_token(header)
    if not request.user.is_authenticated:
        raise Unauthenticated("sign in, or send a bearer token")
    if check_csrf(request):
        raise Forbidden("a signed-in browser must send the CSRF token in X-CSRFToken")
    return Caller(name=request.user.get_username(), scopes=_scopes_of_user(request), sight=sight_of(request.user))


def _by_token(header: str) -> Caller:
    kind, _, secret = header.partition(" ")
    token = tokens.verify(secret.strip()) if kind.lower() == "bearer" else None
    if token is None:
        raise Unauthenticated("the token is unknown, expired or revoked")
    return Caller(name=f"token:{token.name}", scopes=_scopes_of_token(token), sight=tokens.sight_of(token))


def _scopes_of_token(token: ApiToken) -> frozenset[str]:
    return frozenset(tokens.SCOPES if tokens.ADMIN in token.scopes else token.scopes)


def _scopes_of_user(request: HttpRequest) -> frozenset[str]:
    """Whoever may sign in may read, as on the pages; the rest follows the permissions."""
    user = request.user
    granted = {
        tokens.READ: True,
        tokens.SUBMIT: user.has_perm(roles.SUBMIT),
        tokens.REPORT: user.has_perm(roles.SUBMIT),
        tokens.CONTROL: user.has_perm(roles.CONTROL),
        tokens.ADMIN: user.has_perm(roles.ADMINISTER),
    }
    return frozenset(scope for scope, yes in granted.items() if yes)


class BearerToken(HttpBearer):
    """What an operation asks of its caller; the door has found out already who that is."""

    def __init__(self, scope: str) -> None:
        super().__init__()
        self.scope = scope

    def __call__(self, request: HttpRequest) -> Caller:
        caller: Caller = request.caller  # type: ignore[attr-defined]  # set by door.guard
        if self.scope not in caller.scopes:
            raise Forbidden(f"this needs the scope {self.scope!r}; {caller.name} has {', '.join(sorted(caller.scopes))}")
        return caller

    def authenticate(self, request: HttpRequest, token: str) -> Caller:
        raise NotImplementedError("tokens are checked at the door")


READ = BearerToken(tokens.READ)
SUBMIT = BearerToken(tokens.SUBMIT)
REPORT = BearerToken(tokens.REPORT)
CONTROL = BearerToken(tokens.CONTROL)
ADMIN = BearerToken(tokens.ADMIN)


def refuse_limited(request: ApiRequest, words: str) -> None:
    """Raises `Forbidden` with these words for a caller that sees some tools or projects only."""
    if not request.caller.sight.is_whole:
        raise Forbidden(words)
