"""Loads every tool when Django starts: the built-in ones, JOBSITE_TOOLS, and each app's `jobtools.py`."""

from importlib import import_module

from django.apps import AppConfig
from django.conf import settings
from django.utils.module_loading import autodiscover_modules


class JobsConfig(AppConfig):
    name = "jobs"
    verbose_name = "Jobs"

    def ready(self) -> None:
        for module in settings.JOBSITE_TOOLS:
            import_module(module)
        autodiscover_modules("jobtools")
