"""Each page of a filled site, asked for many times: `python -m benchmarks.list_pages JOBS TIMES`."""

from __future__ import annotations

import json
import sys
import time

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402  (needs Django set up)
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from benchmarks.fill import fill  # noqa: E402
from jobs import briefly  # noqa: E402
from jobs.models import Job  # noqa: E402

PAGES = {
    "overview": "/",
    "overview_week": "/?range=week",
    "jobs": "/jobs/",
    "jobs_failed": "/jobs/?status=failed",
    "jobs_of_tool": "/jobs/?tool=tool.c",
    "jobs_of_tool_failed": "/jobs/?tool=tool.c&status=failed",
    "jobs_of_project": "/jobs/?project=PRJ-007",
    "jobs_searched": "/jobs/?search=job-0000",
    "job": "/jobs/{job}/",
    "queue": "/queue/",
    "errors": "/errors/",
    "errors_month": "/errors/?window=month",
    "statistics_day": "/statistics/",
    "statistics_month_by_project": "/statistics/?by=project&period=month",
    "workers": "/workers/",
    "charts": "/charts.json",
}


def asked(client: Client, address: str, times: int) -> dict[str, float]:
    seen = []
    for _ in range(times):
        briefly.forget()
        began = time.perf_counter()
        answer = client.get(address)
        seen.append((time.perf_counter() - began) * 1000)
        if answer.status_code not in {200, 302}:
            raise RuntimeError(f"{address}: {answer.status_code}")
    briefly.forget()
    with CaptureQueriesContext(connection) as caught:
        client.get(address)
    seen.sort()
    return {
        "p50_ms": round(seen[len(seen) // 2], 1),
        "p95_ms": round(seen[min(len(seen) - 1, round(len(seen) * 0.95))], 1),
        "queries": len(caught),
    }


def main(number: int, times: int) -> None:
    began = time.monotonic()
    if not Job.objects.exists():
        fill(number, lambda _: None)
    filled = time.monotonic() - began
    client = Client(headers={"host": "localhost"})
    client.force_login(User.objects.get_or_create(username="bench", is_superuser=True, is_staff=True)[0])
    places = {"job": f"job-{number // 2:08}"}
    pages = {name: asked(client, address.format(**places), times) for name, address in PAGES.items()}
    print(json.dumps({"fill_s": round(filled, 1), "pages": pages}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
