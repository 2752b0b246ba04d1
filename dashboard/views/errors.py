"""Failures grouped by what they have in common: since when, how often, of which tools; retried, muted, resolved as a whole."""

from __future__ import annotations

from datetime import timedelta

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from dashboard.charts import spark
from jobs import audit, failure_groups, lifecycle
from jobs.errors import NotFound, Refused
from jobs.roles import CONTROL
from jobs.sight import sight_of

WINDOWS = {
    "hour": (gettext_lazy("Hour"), timedelta(hours=1)),
    "day": (gettext_lazy("Day"), timedelta(days=1)),
    "week": (gettext_lazy("7 days"), timedelta(days=7)),
    "month": (gettext_lazy("30 days"), timedelta(days=30)),
}
STATES = {"open": gettext_lazy("Open"), "muted": gettext_lazy("Muted"), "resolved": gettext_lazy("Resolved")}
# One press retries so many at most; pressed again, the rest.
MOST_RETRIED = 500


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    window, state = request.GET.get("window", "day"), request.GET.get("state", "open")
    window = window if window in WINDOWS else "day"
    state = state if state in STATES else "open"
    found = failure_groups.as_seen(failure_groups.groups(window=WINDOWS[window][1]), sight_of(request.user))
    context = {
        "groups": [(group, spark(group.trend)) for group in found if group.state == state],
        "numbers": {name: sum(group.state == name for group in found) for name in STATES},
        "window": window,
        "windows": [(name, title) for name, (title, _length) in WINDOWS.items()],
        "state": state,
        "states": STATES.items(),
    }
    return render(request, "dashboard/errors.html", context)


@require_POST
@permission_required(CONTROL, raise_exception=True)
def retry(request: HttpRequest, fingerprint: str) -> HttpResponseRedirect:
    """Every job that failed for good this way is pending again."""
    ids = failure_groups.failed_jobs(fingerprint, most=MOST_RETRIED + 1, sight=sight_of(request.user))
    retried = refused = 0
    for job in ids[:MOST_RETRIED]:
        try:
            audit.act("retry", lifecycle.retry, job, by=request.user.get_username())
            retried += 1
        except Refused:
            # Somebody was faster, or an equal job is active.
            refused += 1
    messages.success(request, _("%(number)s jobs are pending again.") % {"number": retried})
    if refused:
        messages.warning(request, _("%(number)s were not: somebody was faster, or an equal job is active.") % {"number": refused})
    if len(ids) > MOST_RETRIED:
        messages.info(request, _("There are more: press again for the next %(number)s.") % {"number": MOST_RETRIED})
    return redirect("errors")


MARKS = {"mute": failure_groups.mute, "unmute": failure_groups.unmute, "resolve": failure_groups.resolve}


@require_POST
@permission_required(CONTROL, raise_exception=True)
def mark(request: HttpRequest, fingerprint: str) -> HttpResponseRedirect:
    verb = MARKS.get(request.POST.get("as", ""))
    if verb is None:
        messages.error(request, _("A failure is muted, unmuted or resolved."))
        return redirect("errors")
    try:
        verb(fingerprint, by=request.user.get_username())
    except NotFound as error:
        raise Http404(str(error)) from None
    return redirect("errors")
