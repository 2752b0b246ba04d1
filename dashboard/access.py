"""Whether those who hold sockets may still look."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.utils.crypto import constant_time_compare


def still_signed_in(holders: Collection[tuple[str, int]]) -> set[tuple[str, int]]:
    """Of these (session key, user id), those whose session lives and whose account is active with the same password."""
    users = get_user_model().objects.filter(pk__in={user for _, user in holders}, is_active=True).in_bulk()
    store = import_module(settings.SESSION_ENGINE).SessionStore
    valid = set()
    for key, user_id in holders:
        session = store(session_key=key)
        user = users.get(user_id)
        if user is None or session.get(SESSION_KEY) != str(user_id) or BACKEND_SESSION_KEY not in session:
            continue
        if constant_time_compare(session.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash()):
            valid.add((key, user_id))
    return valid
