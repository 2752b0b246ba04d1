"""`jobsite token`: bearer tokens for programs."""

from __future__ import annotations

from typing import Annotated

import typer

from jobsite_client.cli import tables
from jobsite_client.cli.options import Json, session_of
from jobsite_client.shapes import Shape, Token

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke the bearer tokens that programs use; needs the scope admin.")

Scopes = Annotated[list[str] | None, typer.Option("--scope", help="jobs:read, jobs:submit, jobs:report, jobs:control or admin.")]


class _Tokens(Shape):
    tokens: list[Token]


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Whose it is; shown in the history of jobs.")],
    scope: Scopes = None,
    tool: Annotated[list[str] | None, typer.Option(help="It sees and uses only this tool; may be given often.")] = None,
    project: Annotated[list[str] | None, typer.Option(help="It sees and uses only this project; likewise.")] = None,
    expires_days: Annotated[float | None, typer.Option(min=0.001, help="Days until it expires.")] = None,
    as_json: Json = False,
) -> None:
    """Make a token. It is printed this once, and kept nowhere."""
    session = session_of(context)
    with session.client() as client:
        made = client.create_token(name, scopes=scope or (), tools=tool or (), projects=project or (), expires_in_days=expires_days)
    if as_json:
        session.json(made)
    else:
        session.say(f"{made.name} may {', '.join(made.scopes)}. The token is shown this once:")
        session.write(made.secret)


@app.command("list")
def list_tokens(context: typer.Context, as_json: Json = False) -> None:
    """Every token, without its secret."""
    session = session_of(context)
    with session.client() as client:
        found = client.tokens()
    if as_json:
        session.json(_Tokens(tokens=found))
    else:
        session.show(tables.tokens(found))


@app.command()
def revoke(context: typer.Context, name: Annotated[str, typer.Argument(help="The token's name.")]) -> None:
    """From now on the token is refused."""
    session = session_of(context)
    with session.client() as client:
        client.revoke_token(name)
    session.say(f"{name} is revoked")
