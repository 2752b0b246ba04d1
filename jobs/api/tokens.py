"""Bearer tokens: made, listed and revoked by those who may do everything."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from django.utils import timezone
from ninja import Router
from pydantic import Field

from jobs import tokens
from jobs.api.auth import ADMIN, ApiRequest, refuse_limited
from jobs.api.groups import Name
from jobs.api.requests import Label, Sent
from jobs.api.wire import WIRE
from jobs.events import millis
from jobs.models import ApiToken
from jobs.schemas import Millis, Shape, ms

router = Router(tags=["tokens"])

# Who sees a part only could make a token that sees all.
WHO = "tokens are made and revoked by callers that see every tool and project"

Scope = Literal["jobs:read", "jobs:submit", "jobs:report", "jobs:control", "admin"]


class Token(Shape):
    """`prefix` tells it from others; the token itself is kept nowhere. Without `tools` or `projects` it sees all of them."""

    name: str
    prefix: str
    scopes: list[str]
    tools: list[str] | None = None
    projects: list[str] | None = None
    created_at: Millis
    expires_at: Millis | None = None
    last_used_at: Millis | None = None
    revoked_at: Millis | None = None


class MadeToken(Token):
    """`secret` is shown this once."""

    secret: str


class TokenList(Shape):
    tokens: list[Token]


class NewToken(Sent):
    """`tools` and `projects` are the only ones whose jobs it sees and moves; without them, all."""

    name: Annotated[str, Field(max_length=100, pattern=f"^{tokens.NAME.pattern}$")]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=10)] = ["jobs:read", "jobs:submit", "jobs:control"]
    tools: Annotated[list[Label], Field(max_length=100)] = []
    projects: Annotated[list[Label], Field(max_length=100)] = []
    expires_in_days: Annotated[float, Field(strict=True, gt=0, le=36_500, allow_inf_nan=False)] | None = None


@router.post("", response={201: MadeToken}, auth=ADMIN, operation_id="createToken", **WIRE)
def create(request: ApiRequest, wanted: NewToken) -> MadeToken:
    """Make a token; its secret is in this answer and nowhere else."""
    refuse_limited(request, WHO)
    days = wanted.expires_in_days
    row, secret = tokens.make(
        wanted.name,
        by=request.caller.name,
        scopes=wanted.scopes,
        expires_at=None if days is None else timezone.now() + timedelta(days=days),
        tools=wanted.tools,
        projects=wanted.projects,
    )
    return MadeToken(secret=secret, **_shape(row).model_dump())


@router.get("", response=TokenList, auth=ADMIN, operation_id="listTokens", **WIRE)
def listing(request: ApiRequest) -> TokenList:
    """Every token by name, without its secret."""
    refuse_limited(request, WHO)
    return TokenList(tokens=[_shape(row) for row in tokens.every()])


@router.delete("/{path:name}", response={204: None}, auth=ADMIN, operation_id="revokeToken")
def revoke(request: ApiRequest, name: Name) -> None:
    """From now on the token is refused; one that was revoked before stays so."""
    refuse_limited(request, WHO)
    tokens.revoke(name, by=request.caller.name)


def _shape(row: ApiToken) -> Token:
    return Token(
        name=row.name,
        prefix=row.prefix,
        scopes=row.scopes,
        tools=row.tools or None,
        projects=row.projects or None,
        created_at=ms(row.created_at),
        expires_at=millis(row.expires_at),
        last_used_at=millis(row.last_used_at),
        revoked_at=millis(row.revoked_at),
    )
