"""Whether those who hold sockets may still look, and at what."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.models import Session
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from jobs import redis_link
from jobs.sight import EVERYTHING, Sight, sights_of

Holder = tuple[str, int]  # session key, user id


def still_signed_in(holders: Collection[Holder]) -> dict[Holder, Sight]:
    """What each of these sees whose session lives and whose account is active with the same password; the others are left out.

    Three queries for any number of holders, so the sessions' table is read itself.
    """
    users = get_user_model().objects.filter(pk__in={user for _, user in holders}, is_active=True).in_bulk()
    live = Session.objects.filter(expire_date__gt=timezone.now()).in_bulk({key for key, _ in holders})
    sights = sights_of(users)
    valid = {}
    for key, user_id in holders:
        user, row = users.get(user_id), live.get(key)
        if user is None or row is None:
            continue
        session = row.get_decoded()
        if session.get(SESSION_KEY) != str(user_id) or BACKEND_SESSION_KEY not in session:
            continue
        if constant_time_compare(session.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash()):
            valid[key, user_id] = EVERYTHING if user.is_superuser else sights[user_id]
    return valid


def tell_hubs(**_: Any) -> None:
    """Somebody signed out: every web process looks who may stay. Lost, it is found by the next regular look."""
    redis_link.publish(redis_link.LIVE_CHANNEL, b'"check"')
