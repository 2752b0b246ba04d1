"""Tokens and the command that makes them."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from jobs import tokens
from jobs.models import ApiToken
from jobs.tokens import UnusableToken

pytestmark = pytest.mark.django_db


def command(*arguments: str) -> str:
    out = StringIO()
    call_command("token", *arguments, stdout=out)
    return out.getvalue()


def test_the_token_stands_alone_on_the_last_line_and_works() -> None:
    out = command("create", "--name", "ci")
    secret = out.splitlines()[-1]
    assert re.fullmatch(r"jst_[A-Za-z0-9_-]{43}", secret)
    assert out.count(secret) == 1
    found = tokens.verify(secret)
    assert found is not None
    assert (found.name, found.scopes, found.expires_at) == ("ci", list(tokens.DEFAULT_SCOPES), None)


def test_only_a_digest_and_the_first_letters_are_kept() -> None:
    token, secret = tokens.make("ci", by="tests")
    kept = ApiToken.objects.values().get()
    assert secret not in str(kept)
    assert kept["digest"] == hashlib.sha256(secret.encode()).hexdigest()
    assert secret.startswith(token.prefix)
    assert len(token.prefix) <= 12


def test_scopes_and_expiry_can_be_chosen() -> None:
    command("create", "--name", "reader", "--scope", "jobs:read", "--expires-days", "30")
    token = ApiToken.objects.get()
    assert token.scopes == ["jobs:read"]
    assert token.expires_at is not None
    assert token.expires_at - timezone.now() == pytest.approx(timedelta(days=30), abs=timedelta(minutes=1))


def test_a_name_is_used_once_also_after_its_token_was_revoked() -> None:
    command("create", "--name", "ci")
    command("revoke", "ci")
    with pytest.raises(CommandError, match="there is a token named 'ci' already"):
        command("create", "--name", "ci")


@pytest.mark.parametrize("days", ["0", "-1", "soon", "nan", "inf", "1e9"])
def test_a_token_cannot_expire_at_no_time(days: str) -> None:
    with pytest.raises(CommandError):
        command("create", "--name", "ci", "--expires-days", days)
    assert not ApiToken.objects.exists()


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 101, "nul\x00", "-x"])
def test_a_name_must_be_one_line_of_plain_letters(name: str) -> None:
    with pytest.raises(UnusableToken):
        tokens.make(name, by="tests")


@pytest.mark.parametrize("scopes", [[], ["jobs:everything"]])
def test_an_unknown_scope_is_refused(scopes: list[str]) -> None:
    with pytest.raises(UnusableToken, match="jobs:read"):
        tokens.make("ci", by="tests", scopes=scopes)


def test_a_revoked_token_is_refused_from_then_on() -> None:
    secret = command("create", "--name", "ci").splitlines()[-1]
    assert "is revoked" in command("revoke", "ci")
    assert tokens.verify(secret) is None
    assert "was revoked before" in command("revoke", "ci")
    with pytest.raises(CommandError, match="no token named"):
        command("revoke", "nobody")


def test_the_list_shows_every_token_and_no_secret() -> None:
    secrets = [command("create", "--name", name).splitlines()[-1] for name in ("a", "b")]
    ApiToken.objects.filter(name="b").update(expires_at=timezone.now() - timedelta(days=1))
    command("revoke", "a")
    lines = command("list").splitlines()
    assert [line.split("\t")[0] for line in lines] == ["a", "b"]
    assert "revoked" in lines[0]
    assert "expired" in lines[1]
    assert not any(secret in line for secret in secrets for line in lines)
