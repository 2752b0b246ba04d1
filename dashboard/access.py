"""Whether those who hold sockets may still look."""

from __future__ import annotations

from collections.abc import Collection

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.models import Session
from django.utils import timezone
from django.utils.crypto import constant_time_compare


def still_signed_in(holders: Collection[tuple[str, int]]) -> set[tuple[str, int]]:
    """Of these (session key, user id), those whose session lives and whose account is active with the same password.

    Two queries for any number of holders, so the sessions' table is read itself.
    """
    users = get_user_model().objects.filter(pk__in={user for _, user in holders}, is_active=True).in_bulk()
    live = Session.objects.filter(expire_date__gt=timezone.now()).in_bulk({key for key, _ in holders})
    valid = set()
    for key, user_id in holders:
        user, row = users.get(user_id), live.get(key)
        if user is None or row is None:
            continue
        session = row.get_decoded()
        if session.get(SESSION_KEY) != str(user_id) or BACKEND_SESSION_KEY not in session:
            continue
        if constant_time_compare(session.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash()):
            valid.add((key, user_id))
    return valid
