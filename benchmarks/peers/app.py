"""The peers' side of a benchmark, run with the interpreter of `.venv-peers`: `python -m benchmarks.peers`.

Each peer gets its best settings: kept connections, no result where none is asked for, many messages a send where it can.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import dj_database_url
import django
from django.conf import settings

PEER = os.environ["BENCH_PEER"]
MARKS = Path(os.environ["BENCH_MARKS"])

settings.configure(
    SECRET_KEY="only here",  # noqa: S106
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.contenttypes",
        "django_celery_results",
        "procrastinate.contrib.django",
        "django_tasks_db",
    ],
    DATABASES={"default": dj_database_url.parse(os.environ["DATABASE_URL"], conn_max_age=None)},
    TASKS={"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}},
    CELERY_DB_REUSE_MAX=1_000_000_000,
)
django.setup()

from celery import Celery  # noqa: E402  (needs Django set up)
from django_tasks import task  # noqa: E402
from procrastinate.contrib.django import app as procrastinate  # noqa: E402

celery = Celery(
    "peer",
    broker=os.environ["REDIS_URL"].replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=", 1),
    backend="django-db" if PEER == "celery_results" else None,
)
celery.config_from_object(settings, namespace="CELERY")
celery.conf.update(
    broker_transport_options={"global_keyprefix": os.environ["BENCH_PREFIX"]},
    task_ignore_result=PEER != "celery_results",
    task_serializer="json",
    result_serializer="json",
    worker_send_task_events=False,
    worker_enable_remote_control=False,
)
if PEER == "celery_safe":
    celery.conf.update(task_acks_late=True, task_reject_on_worker_lost=True, worker_prefetch_multiplier=1)
    celery.conf.broker_transport_options["visibility_timeout"] = float(os.environ["BENCH_VISIBILITY"])


def mark() -> None:
    """One byte for one job done: costs microseconds, and asks no peer for a record."""
    handle = os.open(MARKS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(handle, b".")
    os.close(handle)


@celery.task(name="noop")
def noop() -> None:
    mark()


@celery.task(name="note")
def note(key: str, seconds: float) -> None:
    """Take so long, then say so: one line for each time that it came to its end."""
    time.sleep(seconds)
    handle = os.open(MARKS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(handle, f"{key}\n".encode())
    os.close(handle)


procrastinate_noop = procrastinate.task(name="noop")(mark)


@task()
def tasks_noop() -> None:
    mark()


def send(count: int) -> None:
    """Enqueue `count` jobs; prints the seconds it took, and the seconds until the last was done."""
    if PEER.startswith("celery"):
        with celery.producer_pool.acquire(block=True) as producer:
            began = time.perf_counter()
            for _ in range(count):
                noop.apply_async(producer=producer)
    elif PEER == "procrastinate":
        began = time.perf_counter()
        procrastinate_noop.batch_defer(*({} for _ in range(count)))
    else:
        began = time.perf_counter()
        for _ in range(count):
            tasks_noop.enqueue()
    sent = time.perf_counter() - began
    while not MARKS.exists() or MARKS.stat().st_size < count:
        if time.perf_counter() - began > 240:
            raise TimeoutError(f"{PEER}: {count} jobs were not done in time")
        time.sleep(0.002)
    print(sent, time.perf_counter() - began)
