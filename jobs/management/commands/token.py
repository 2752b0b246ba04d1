"""`manage.py token create|list|revoke`: bearer tokens for the JSON API."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from jobs import tokens
from jobs.errors import Refused

# Who does it, as the audit log says it: somebody with a shell on this machine.
COMMAND = "manage.py"


class Command(BaseCommand):
    help = "Make, list and revoke the bearer tokens that programs use."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        create = verbs.add_parser("create", help="make a token and print it, once")
        create.add_argument("--name", required=True, help="whose token it is; shown in the history of jobs")
        create.add_argument(
            "--scope",
            action="append",
            choices=tokens.SCOPES,
            help=f"what it may do; may be given several times (default: {' '.join(tokens.DEFAULT_SCOPES)})",
        )
        create.add_argument("--expires-days", type=_days, help="days until it expires (default: never)")
        create.add_argument("--tool", action="append", default=[], help="sees and uses only this tool; may be given several times")
        create.add_argument("--project", action="append", default=[], help="sees and uses only this project; likewise")
        verbs.add_parser("list", help="list the tokens; secrets are not kept")
        revoke = verbs.add_parser("revoke", help="refuse a token from now on")
        revoke.add_argument("name")

    def handle(self, *args: object, verb: str, **options: Any) -> None:
        try:
            match verb:
                case "create":
                    self._create(**options)
                case "list":
                    self._list()
                case _:
                    self._revoke(options["name"])
        except Refused as refusal:
            raise CommandError(refusal.detail) from refusal

    def _create(
        self, *, name: str, scope: list[str] | None, expires_days: float | None, tool: list[str], project: list[str], **_: object
    ) -> None:
        expires_at = None if expires_days is None else timezone.now() + timedelta(days=expires_days)
        token, secret = tokens.make(
            name, by=COMMAND, scopes=scope or tokens.DEFAULT_SCOPES, expires_at=expires_at, tools=tool, projects=project
        )
        self.stdout.write(f"Token {token.name!r} may {', '.join(token.scopes)}; it {_expiry(token.expires_at)}.")
        self.stdout.write("Send it as `Authorization: Bearer <token>`. It is shown this once and cannot be read again:")
        # Alone on the last line, so that `manage.py token create ... | tail -n 1` is the token.
        self.stdout.write(secret)

    def _list(self) -> None:
        for token in tokens.every():
            state = "revoked" if token.revoked_at else _expiry(token.expires_at)
            used = f"{token.last_used_at:%Y-%m-%d %H:%M}" if token.last_used_at else "never"
            only = " ".join([*(f"tool={name}" for name in token.tools), *(f"project={name}" for name in token.projects)]) or "all"
            self.stdout.write(f"{token.name}\t{token.prefix}…\t{','.join(token.scopes)}\t{only}\t{state}\tlast used: {used}")

    def _revoke(self, name: str) -> None:
        changed = tokens.revoke(name, by=COMMAND)
        self.stdout.write(f"Token {name!r} {'is revoked' if changed else 'was revoked before'}.")


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = 0.0
    if not 0 < days <= 36_500:
        raise ArgumentTypeError("a number of days, more than 0 and at most 36500")
    return days


def _expiry(expires_at: datetime | None) -> str:
    if expires_at is None:
        return "never expires"
    return f"{'expired' if expires_at <= timezone.now() else 'expires'} {expires_at:%Y-%m-%d %H:%M} UTC"
