"""`jobsite top`: the whole at a glance, drawn again and again until q."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from pydantic import BaseModel
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from jobsite_client.cli import keys, tables
from jobsite_client.cli.plain import one_line
from jobsite_client.cli.screen import Session
from jobsite_client.client import Client
from jobsite_client.errors import JobsiteError
from jobsite_client.shapes import PENDING, RUNNING, JobSummary, QueueStatus

# Rows that are no jobs: the head, and the three titles with their headers.
_FURNITURE = 10


class Glance(BaseModel):
    """What the dashboard shows."""

    queue: QueueStatus
    running: list[JobSummary]
    waiting: list[JobSummary]
    latest: list[JobSummary]


def look(client: Client, rows: int) -> Glance:
    """Four questions; `rows` is how many jobs there is room for in all."""
    running = client.page(status=RUNNING, limit=max(1, rows // 2)).jobs
    waiting = client.page(status=PENDING, limit=max(1, rows // 4)).jobs
    newest = client.page(limit=100).jobs
    ended = [job for job in newest if job.is_final]
    return Glance(queue=client.queue(), running=running, waiting=waiting, latest=ended[: max(1, rows // 4)])


@dataclass
class _Picture:
    """The last good look stays on the screen while the server does not answer."""

    session: Session
    glance: Glance | None = None
    trouble: str = ""
    rows: int = field(default=20)

    def renew(self, client: Client) -> None:
        self.rows = max(4, self.session.out.height - _FURNITURE)
        try:
            self.glance, self.trouble = look(client, self.rows), ""
        except JobsiteError as error:
            if self.glance is None:
                raise
            self.trouble = one_line(str(error))

    def __rich__(self) -> RenderableType:
        if self.glance is None:
            return Text("…")
        return Group(*draw(self.glance), Text(self.trouble, style="bold red"), Text("q quits", style="dim"))


def draw(glance: Glance) -> list[RenderableType]:
    queue = glance.queue
    head = Text.assemble(
        (f"{queue.running} running", "bold blue"),
        f"   {queue.queue_length} waiting (on average {tables.span(queue.average_wait)},"
        f" longest {tables.span(queue.longest_wait)})   {queue.total} jobs in all",
    )
    parts = [("running", glance.running), ("waiting, the newest", glance.waiting), ("finished last", glance.latest)]
    return [head, *(tables.jobs(found, title=title, bars=title == "running") for title, found in parts if found)]


def once(session: Session, *, as_json: bool) -> None:
    with session.client() as client:
        glance = look(client, 40)
    if as_json:
        session.json(glance)
    else:
        session.show(Group(*draw(glance)))


def moving(session: Session, every: float) -> None:
    """Until q or Ctrl-C."""
    picture = _Picture(session)
    with session.client(tries=1) as client:
        picture.renew(client)
        with keys.single_keys(), Live(picture, console=session.out, screen=True, auto_refresh=False) as live:
            while keys.pressed(within=every) not in ("q", "Q"):
                picture.renew(client)
                live.update(picture, refresh=True)


def possible(session: Session) -> bool:
    """Whether there is a person at both ends of a terminal."""
    return session.out.is_terminal and sys.stdin.isatty()
