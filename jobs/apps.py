"""Loads every tool when Django starts: the built-in ones, JOBSITE_TOOLS, and each app's `jobtools.py`."""

from importlib import import_module

from django.apps import AppConfig, apps
from django.conf import settings
from django.utils.module_loading import autodiscover_modules, module_has_submodule

from jobs.masking import register_secret


class JobsConfig(AppConfig):
    name = "jobs"
    verbose_name = "Jobs"

    def ready(self) -> None:
        for module in settings.JOBSITE_TOOLS:
            import_module(module)
        autodiscover_modules("jobtools")
        _register_own_secrets()
        _find_tasks()


def _register_own_secrets() -> None:
    password = str(settings.DATABASES["default"].get("PASSWORD") or "")
    # A short password ("postgres") would cover a word that stands everywhere.
    register_secret(settings.SECRET_KEY, *([password] if len(password) >= 12 else []))


def _find_tasks() -> None:
    """Django's tasks of the project's apps, so that their limits are known everywhere; and who sends their signals."""
    if not any(backend["BACKEND"].startswith("jobs.django_tasks.") for backend in getattr(settings, "TASKS", {}).values()):
        return
    import_module("jobs.django_tasks.results")
    for config in apps.get_app_configs():
        if config.name != "jobs" and config.module is not None and module_has_submodule(config.module, "tasks"):
            import_module(f"{config.name}.tasks")
