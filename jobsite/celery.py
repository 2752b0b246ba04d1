"""The Celery application: it carries doorbells and runs children, nothing else."""

import os

from celery import Celery

from jobsite import transport

transport.use()
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jobsite.settings")

app = Celery("jobsite")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["jobs"])
