"""The site: composes `jobs` and `dashboard`, decides nothing itself."""

from jobsite.celery import app as celery_app

__all__ = ["celery_app"]
