"""Tokens for programs: made here and shown once, seen, revoked."""

from __future__ import annotations

from datetime import timedelta

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from dashboard.forms import TokenForm
from jobs import roles, tokens
from jobs.errors import NotFound, Refused
from jobs.sight import sight_of


def _refuse_limited(request: HttpRequest) -> None:
    """Who sees some projects only could make a token that sees all. As over the API."""
    if not sight_of(request.user).is_whole:
        raise PermissionDenied


@permission_required(roles.ADMINISTER, raise_exception=True)
def page(request: HttpRequest) -> HttpResponse:
    _refuse_limited(request)
    form = TokenForm(request.POST if request.method == "POST" else None)
    made = None
    if request.method == "POST" and form.is_valid():
        wanted = form.cleaned_data
        expires_at = timezone.now() + timedelta(days=wanted["days"]) if wanted["days"] else None
        try:
            made = tokens.make(
                wanted["name"],
                by=request.user.get_username(),
                scopes=wanted["scopes"],
                expires_at=expires_at,
                tools=wanted["tools"],
                projects=wanted["projects"],
            )
        except Refused as refused:
            form.add_error("name", str(refused))
        else:
            form = TokenForm()
    context = {
        "form": form,
        # Shown in this answer and never again: it is kept nowhere, and no browser keeps the page.
        "made": made,
        "tokens": [(token, tokens.usable(token, timezone.now())) for token in tokens.every()],
    }
    return render(request, "dashboard/tokens.html", context, status=422 if form.errors else 200)


@require_POST
@permission_required(roles.ADMINISTER, raise_exception=True)
def revoke(request: HttpRequest) -> HttpResponseRedirect:
    _refuse_limited(request)
    name = request.POST.get("name", "")
    try:
        changed = tokens.revoke(name.replace("\x00", ""), by=request.user.get_username())
        messages.success(request, f"Token {name} is revoked." if changed else f"Token {name} was revoked before.")
    except NotFound as refused:
        messages.error(request, str(refused))
    return redirect("tokens")
