"""Who gets in, from where, and what browsers are told."""

import os
import subprocess
import sys

import pytest
from django.contrib.auth.models import User
from django.test import Client

from benchmarks.stack import ROOT
from dashboard.origin import is_ours
from jobs.models import AuditEntry, ProjectAccess
from tests.factories import failed, submitted

pytestmark = pytest.mark.django_db


@pytest.fixture
def client():
    signed_in = Client(REMOTE_ADDR="192.0.2.7")
    signed_in.force_login(User.objects.create_superuser("ada"))
    return signed_in


@pytest.mark.parametrize(
    "address",
    [
        *(
            "/",
            "/jobs/",
            "/jobs/?q=colour:red",
            "/queue/",
            "/errors/",
            "/statistics/",
            "/workers/",
            "/tokens/",
            "/audit/",
            "/submit/",
        ),
        *("/admin/", "/admin/jobs/job/", "/admin/jobs/worker/health/", "/admin/login/", "/api/v1/jobs", "/sign-in/", "/nothing/"),
    ],
)
def test_every_answer_forbids_foreign_and_inline_script_and_is_not_kept(client, address):
    answer = client.get(address)
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "no-store" in answer.headers["Cache-Control"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_job_pages_are_not_kept_by_browsers(client):
    job = failed()
    for address in (f"/jobs/{job.id}/", f"/jobs/{job.id}/parts/", f"/jobs/{job.id}/result.json"):
        assert client.get(address).headers["Cache-Control"] == "no-store"


def test_after_five_wrong_passwords_the_door_is_closed_for_that_name_and_address_only():
    User.objects.create_user("eve", password="a-long-password-42")
    stranger, at_home = Client(REMOTE_ADDR="192.0.2.66"), Client(REMOTE_ADDR="192.0.2.1")
    answers = [stranger.post("/sign-in/", {"username": "eve", "password": f"guess {n}"}).status_code for n in range(6)]
    assert answers[:4] == [200] * 4
    assert answers[-1] == 429
    assert stranger.post("/sign-in/", {"username": "eve", "password": "a-long-password-42"}).status_code == 429
    assert at_home.post("/sign-in/", {"username": "eve", "password": "a-long-password-42"}).status_code == 302


def test_the_admin_door_is_throttled_too():
    User.objects.create_superuser("boss", password="a-long-password-42")
    stranger = Client(REMOTE_ADDR="192.0.2.66")
    for n in range(5):
        stranger.post("/admin/login/", {"username": "boss", "password": f"guess {n}"})
    assert stranger.post("/admin/login/", {"username": "boss", "password": "a-long-password-42"}).status_code == 429


def test_the_deployment_check_has_nothing_to_say():
    env = os.environ | {
        "HTTPS": "1",
        "ALLOWED_HOSTS": "jobs.example.org",
        "SECRET_KEY": "k" * 20 + "".join(map(chr, range(40, 90))),
    }
    env.pop("DJANGO_SETTINGS_MODULE", None)
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("host", "origin", "secure", "ours"),
    [
        ("localhost:8000", "http://localhost:8000", False, True),
        ("localhost", "http://localhost:80", False, True),
        ("localhost", "https://localhost", True, True),
        ("localhost:8000", "http://localhost:8001", False, False),
        ("localhost:8000", "https://localhost:8000", False, False),
        ("localhost:8000", "http://evil.example", False, False),
        ("localhost:8000", "null", False, False),
        ("localhost:8000", "", False, False),
        ("evil.example", "http://evil.example", False, False),
        ("localhost:8000", "http://localhost:port", False, False),
    ],
)
def test_a_socket_is_opened_by_our_own_pages_only(host, origin, secure, ours):
    assert is_ours({"host": host, "origin": origin}, secure=secure) is ours


def test_behind_a_proxy_the_scheme_it_was_asked_by_counts_and_trusted_origins_are_ours(settings):
    settings.BEHIND_PROXY = True
    forwarded = {"host": "localhost", "origin": "https://localhost", "x-forwarded-proto": "https"}
    assert is_ours(forwarded, secure=False)
    assert not is_ours(forwarded | {"origin": "https://jobs.example.org"}, secure=False)
    settings.CSRF_TRUSTED_ORIGINS = ["https://jobs.example.org"]
    assert is_ours(forwarded | {"origin": "https://jobs.example.org"}, secure=False)


def test_what_a_page_does_is_noted_with_the_address_it_came_from(client):
    job = submitted()
    client.post(f"/jobs/{job.id}/cancel/")
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.origin) == ("ada", "cancel", "192.0.2.7")


def test_a_job_of_another_project_is_not_found_by_any_address():
    job, eve = submitted(project="B"), User.objects.create_user("eve")
    ProjectAccess.objects.create(user=eve, project="A")
    looker = Client()
    looker.force_login(eve)
    for address in ("", "parts/", "result.json"):
        assert looker.get(f"/jobs/{job.id}/{address}").status_code == 404
    assert job.id not in looker.get("/jobs/").content.decode()
    assert job.id not in looker.get(f"/jobs/rows/?ids={job.id}").content.decode()
