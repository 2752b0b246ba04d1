"""Searches that people keep under a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.models import SavedView
from jobs.payloads import clean_text

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

    Person = AbstractBaseUser | AnonymousUser

# Of one person; the oldest give way.
MOST = 30


def of(user: Person) -> list[SavedView]:
    return list(SavedView.objects.filter(user=user.pk).order_by("name")[:MOST])


def keep(user: Person, name: str, query: str) -> None:
    """The same name means the same view, with its newest search."""
    label = clean_text(name.strip(), 60)
    if label and user.pk is not None:
        SavedView.objects.update_or_create(user_id=user.pk, name=label, defaults={"query": query})
        spare = SavedView.objects.filter(user=user.pk).order_by("-id").values_list("pk", flat=True)[MOST:]
        SavedView.objects.filter(pk__in=list(spare)).delete()


def drop(user: Person, view_id: int) -> None:
    SavedView.objects.filter(user=user.pk, pk=view_id).delete()
