"""Addresses of the whole site: pages at the root, the API and the admin beside them."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("jobs.urls")),
    path("", include("dashboard.urls")),
]
