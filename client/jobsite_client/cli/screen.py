"""What every command writes to: answers to the standard output, everything else to the standard error output."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from pydantic import BaseModel
from rich.console import Console, RenderableType
from rich.text import Text

from jobsite_client.cli.plain import plain
from jobsite_client.client import Client
from jobsite_client.retrying import Backoff

WIDE = 240


def _answers() -> Console:
    """A pipe is as wide as its reader likes; a table in it must not be cut to the width of some terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDE)


@dataclass(kw_only=True)
class Session:
    """One run of the command."""

    url: str | None
    token: str | None
    out: Console = field(default_factory=_answers)
    err: Console = field(default_factory=lambda: Console(stderr=True))

    def client(self, *, tries: int = 4) -> Client:
        return Client(self.url, self.token, backoff=Backoff(tries=tries))

    def say(self, text: str) -> None:
        """To people, beside the answer."""
        self.err.print(Text(plain(text)), soft_wrap=True)

    def write(self, text: str) -> None:
        """An answer as text, as it is: never wrapped, never coloured."""
        sys.stdout.write(plain(text) + "\n")
        sys.stdout.flush()

    def json(self, shape: BaseModel) -> None:
        """An answer as one line of JSON, in the names of the API."""
        sys.stdout.write(shape.model_dump_json(by_alias=True, exclude_none=True) + "\n")
        sys.stdout.flush()

    def show(self, what: RenderableType) -> None:
        self.out.print(what)
