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
from jobs.listing import cursor_of  # noqa: E402
from jobs.models import Job  # noqa: E402

# Every page that lists or counts, and of the list each kind of term: plain ones that lead by an index, and those that are held
# against a window; `{cursor}` is a place in the middle.
PAGES = {
    "overview": "/",
    "overview_week": "/?range=week",
    "charts": "/charts.json",
    "jobs": "/jobs/",
    "jobs_middle": "/jobs/?cursor={cursor}",
    "jobs_failed": "/jobs/?status=failed",
    "jobs_pending": "/jobs/?status=pending",
    "jobs_of_tool": "/jobs/?tool=tool.c",
    "jobs_of_tool_failed": "/jobs/?tool=tool.c&status=failed",
    "jobs_of_project": "/jobs/?project=PRJ-007",
    "jobs_of_batch": "/jobs/?batch={batch}",
    "jobs_of_operation": "/jobs/?operation=codemap",
    "jobs_of_priority": "/jobs/?q=priority:critical",
    "jobs_of_worker": "/jobs/?worker=host-3:103",
    "jobs_of_error": "/jobs/?error=KeyError",
    "jobs_of_no_error": "/jobs/?error=NoSuchError",
    "jobs_by_param": "/jobs/?q=params.depth:99",
    "jobs_by_duration": "/jobs/?q=duration:>1h",
    "jobs_by_age": "/jobs/?q=age:>7d",
    "jobs_by_text": "/jobs/?q=nowhere",
    "jobs_of_project_by_text": "/jobs/?q=project:PRJ-007+nowhere",
    "jobs_of_project_of_worker": "/jobs/?q=project:PRJ-007+worker:nowhere",
    "jobs_by_all": "/jobs/?q=status:failed+tool:tool.c+priority:>high+-project:PRJ-001+age:<7d",
    "rows": "/jobs/rows/?q=&ids={ids}",
    "complete": "/jobs/complete/?q=project:",
    "complete_batch": "/jobs/complete/?q=batch:batch-1",
    "job": "/jobs/{job}/",
    "job_failed": "/jobs/{failed}/",
    "job_pending": "/jobs/{pending}/",
    "job_running": "/jobs/{running}/",
    "workflow": "/workflows/batch/?name={batch}",
    "workflow_project": "/workflows/project/?name=PRJ-007",
    "queue": "/queue/",
    "errors": "/errors/",
    "errors_hour": "/errors/?window=hour",
    "errors_month": "/errors/?window=month",
    "statistics_day": "/statistics/",
    "statistics_month_by_project": "/statistics/?by=project&period=month",
    "workers": "/workers/",
    "audit": "/audit/",
    "audit_of_actor": "/audit/?actor=person-7",
    "audit_of_subject": "/audit/?subject=job+{job}",
    "tokens": "/tokens/",
}


def asked(client: Client, address: str, times: int) -> dict[str, float]:
    # The first request of a process compiles templates and prepares statements; it is not counted.
    client.get(address)
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


def _places(number: int) -> dict[str, str]:
    """Jobs in the middle of each kind, and a batch."""
    newest = {status: Job.objects.filter(status=status).order_by("-created_at")[number // 1000] for status in ("failed", "pending")}
    middle = Job.objects.exclude(batch="").filter(pk__gte=f"job-{number // 2:08}").order_by("pk")[0]
    return {
        "job": middle.pk,
        "batch": middle.batch,
        "cursor": cursor_of(middle.created_at, middle.pk),
        "failed": newest["failed"].pk,
        "pending": newest["pending"].pk,
        "running": f"job-{number:08}",
        "ids": ",".join(f"job-{n:08}" for n in range(number - 49, number + 1)),
    }


def main(number: int, times: int) -> None:
    began = time.monotonic()
    if not Job.objects.exists():
        fill(number, lambda _: None)
    filled = time.monotonic() - began
    client = Client(headers={"host": "localhost"})
    client.force_login(User.objects.get_or_create(username="bench", is_superuser=True, is_staff=True)[0])
    places = _places(number)
    pages = {name: asked(client, address.format(**places), times) for name, address in PAGES.items()}
    print(json.dumps({"fill_s": round(filled, 1), "pages": pages}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
