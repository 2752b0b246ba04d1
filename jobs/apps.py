"""Loads every tool when Django starts: the built-in ones, JOBSITE_TOOLS, and each app's `jobtools.py`."""

from importlib import import_module

from django.apps import AppConfig
from django.conf import settings
from django.utils.module_loading import autodiscover_modules

from jobs.masking import register_secret


class JobsConfig(AppConfig):
    name = "jobs"
    verbose_name = "Jobs"

    def ready(self) -> None:
        for module in settings.JOBSITE_TOOLS:
            import_module(module)
        autodiscover_modules("jobtools")
        _register_own_secrets()


def _register_own_secrets() -> None:
    password = str(settings.DATABASES["default"].get("PASSWORD") or "")
    # A short password ("postgres") would cover a word that stands everywhere.
    register_secret(settings.SECRET_KEY, *([password] if len(password) >= 12 else []))
