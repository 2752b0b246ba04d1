"""The audit log: who did what, to what, from where."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from jobs import audit, roles
from jobs.errors import Refused

FILTERS = ("actor", "action", "subject")


@require_safe
@permission_required(roles.AUDIT, raise_exception=True)
def page(request: HttpRequest) -> HttpResponse:
    wanted: dict[str, Any] = {name: request.GET.get(name, "").replace("\x00", "").strip()[:200] for name in FILTERS}
    try:
        found = audit.page(**wanted, cursor=request.GET.get("cursor", ""))
    except Refused as refused:
        messages.error(request, str(refused))
        found = audit.page(**wanted)
    chosen = {name: value for name, value in wanted.items() if value}
    context = {
        "entries": found.entries,
        "chosen_by": chosen,
        "older": f"?{urlencode(chosen | {'cursor': found.next_cursor})}" if found.next_cursor else "",
    }
    return render(request, "dashboard/audit.html", context)
