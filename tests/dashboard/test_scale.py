"""What a page costs does not grow with the jobs there are."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from jobs import audit, briefly, configuration, lifecycle, tokens, workflow
from jobs.lifecycle import Submission
from jobs.models import Job
from tests.dashboard.test_operators import worker
from tests.factories import failed, running, submitted

pytestmark = pytest.mark.django_db

# The most queries of each page.
PAGES = {
    "/": 24,
    "/charts.json": 8,
    "/jobs/": 12,
    "/jobs/?q=status:pending": 12,
    "/jobs/?q=project:P-1+nowhere": 12,
    "/jobs/?q=worker:w": 12,
    "/jobs/rows/?q=&ids={job}": 6,
    "/jobs/complete/?q=batch:": 6,
    "/jobs/{job}/": 20,
    "/workflows/batch/?name=b": 13,
    "/workflows/project/?name=P-1": 13,
    "/queue/": 24,
    "/errors/": 9,
    "/statistics/": 12,
    "/workers/": 16,
    "/tokens/": 9,
    "/audit/": 9,
}


def more(number, first):
    """So many more jobs, and of what is listed beside them some more each."""
    lifecycle.submit_many([Submission(tool="test.add", project=f"P-{n % 3}", batch="b") for n in range(number)], by="t")
    for n in range(first, first + number // 10):
        running(submitted(project="P-1", batch="b"))
        failed()
        worker(name=f"w:{n}")
        audit.note("retry", f"job {n}", by="ann")
        tokens.make(f"t{n}", by="ann")


def asked(client, address):
    briefly.forget()
    with CaptureQueriesContext(connection) as caught:
        assert client.get(address).status_code == 200, address
    return [query["sql"] for query in caught]


def test_every_page_costs_the_same_few_queries_for_ten_jobs_and_for_a_thousand(client):
    configuration.row()
    more(10, 1)
    job = Job.objects.filter(status="pending", batch="b")[0].pk
    few = {address: len(asked(client, address.format(job=job))) for address in PAGES}
    more(1000, 2)
    many = {address: len(asked(client, address.format(job=job))) for address in PAGES}
    # A list that is not full also asks whether there are older jobs; so it costs one more when there are few.
    assert {address for address in PAGES if not 0 <= few[address] - many[address] <= address.startswith("/jobs/")} == set()
    assert {address: number for address, number in many.items() if number > PAGES[address]} == {}


# Where nothing but reading all of it would answer, the planner does so though it is told not to.
SCAN = re.compile(r"Seq Scan on (jobs_(?:job|attempt|event|jobmetrics|dependency|auditentry))\b")


@pytest.mark.parametrize("address", PAGES)
def test_no_page_reads_all_jobs_attempts_or_events(client, address):
    configuration.row()
    more(10, 1)
    job = Job.objects.filter(status="pending", batch="b")[0].pk
    statements = asked(client, address.format(job=job))
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        for sql in statements:
            if sql.lstrip().upper().startswith(("SELECT", "WITH")):
                cursor.execute("EXPLAIN " + sql.replace("%", "%%"), [])
                plan = "\n".join(row[0] for row in cursor.fetchall())
                assert not SCAN.search(plan), f"{sql}\n{plan}"


def test_of_a_large_project_the_newest_jobs_are_drawn_and_all_are_counted(client, monkeypatch):
    monkeypatch.setitem(workflow.MOST_READ, "project", 5)
    made = lifecycle.submit_many([Submission(tool="test.add", project="P") for _ in range(8)], by="t")
    for job in made[:3]:
        lifecycle.cancel(job.pk, by="t")
    page = client.get("/workflows/project/?name=P").content.decode()
    assert 'data-whole-count="pending">5<' in page
    assert 'data-whole-count="cancelled">3<' in page
    assert "Only its newest 5 jobs are drawn" in page
    drawn = page.split('id="drawn"')[1].split("</script>")[0]
    assert [job.pk in drawn for job in made] == [False] * 3 + [True] * 5
    assert client.get("/workflows/project/?name=none").status_code == 404
