"""Addresses that programs and load balancers use."""

from django.urls import path

from jobs import api, health
from jobs.api import metrics
from jobs.mcp import door

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", metrics.metrics, name="metrics"),
    path("api/v1/", api.urls),
    path("mcp", door.endpoint, name="mcp"),
]
