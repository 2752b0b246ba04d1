"""Failures: for now those of the list."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_safe


@require_safe
def page(request: HttpRequest) -> HttpResponseRedirect:
    return HttpResponseRedirect(f"{reverse('jobs')}?status=failed")
