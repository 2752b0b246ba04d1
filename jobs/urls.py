"""Addresses that programs and load balancers use."""

from __future__ import annotations

import asyncio
from importlib import import_module

from django.http import HttpRequest, HttpResponse
from django.urls import path

from jobs import api, health
from jobs.api import metrics


async def agents(request: HttpRequest) -> HttpResponse:
    """The door for agents. Its SDK takes 18 MB and most of a second, so it is loaded when the first one calls, in a thread."""
    door = await asyncio.to_thread(import_module, "jobs.mcp.door")
    answer: HttpResponse = await door.endpoint(request)
    return answer


# Tokens only: a browser's session is no proof there, and a redirect to a page is no use to an agent.
agents.login_required = False  # type: ignore[attr-defined]
agents.csrf_exempt = True  # type: ignore[attr-defined]

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", metrics.metrics, name="metrics"),
    path("api/v1/", api.urls),
    path("mcp", agents, name="mcp"),
]
