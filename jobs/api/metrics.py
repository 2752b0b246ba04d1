"""Figures for a monitoring system, in the text format of Prometheus."""

from __future__ import annotations

from django.http import HttpResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from jobs import measures
from jobs.api.auth import READ, ApiRequest, refuse_limited
from jobs.api.door import guard


@guard
@require_safe
def metrics(request: ApiRequest) -> HttpResponse:
    """For a token of the scope jobs:read, or a session; of all jobs, so not for those who see a part."""
    READ(request)
    refuse_limited(request, "the figures are of all jobs, and you see some tools or projects only")
    return HttpResponse(measures.measured(), content_type=CONTENT_TYPE_PLAIN_0_0_4)
