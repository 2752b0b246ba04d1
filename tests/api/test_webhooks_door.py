"""Webhooks over the API: who may make them, what is refused, and what their log says."""

import time

import pytest

from jobs import deliveries, outbox, tokens, webhooks
from jobs.models import AuditEntry, Delivery, Webhook
from tests.api.steps import API, Caller, completed, problem

pytestmark = pytest.mark.django_db

URL = "https://hooks.example.org/jobs"


@pytest.fixture(autouse=True)
def named(settings):
    settings.JOBSITE_WEBHOOK_HOSTS = ["hooks.example.org"]


@pytest.fixture
def admin():
    return Caller(scopes=[tokens.ADMIN], name="admin")


def test_it_is_made_with_a_secret_that_the_list_does_not_tell(admin):
    answer = admin.post("/webhooks", {"url": URL, "toolName": "doors.sum", "events": ["job.failed"]})
    made = answer.json()
    assert answer.status_code == 201
    assert made["secret"].startswith("whsec_")
    listed = admin.get("/webhooks")
    assert [(hook["toolName"], hook["events"]) for hook in listed.json()["webhooks"]] == [("doors.sum", ["job.failed"])]
    assert made["secret"] not in listed.content.decode()


@pytest.mark.parametrize(
    "body",
    [
        {"url": "http://hooks.example.org/"},
        {"url": "https://elsewhere.example.org/"},
        {"url": "https://127.0.0.1/"},
        {"url": URL, "events": ["job.exploded"]},
        {"url": URL, "events": []},
        {"url": URL, "secret": "mine"},
    ],
)
def test_what_cannot_be_made_is_refused(admin, body):
    assert problem(admin.post("/webhooks", body))["status"] == 422
    assert not Webhook.objects.exists()


def test_off_is_said(admin, settings):
    settings.JOBSITE_WEBHOOK_HOSTS = []
    assert problem(admin.post("/webhooks", {"url": URL}))["type"].endswith("/webhooks-off")


def test_only_who_may_do_everything_makes_one_for_all_and_whoever_hands_in_jobs_one_for_a_job():
    robot, job = Caller(), completed()
    assert problem(robot.post("/webhooks", {"url": URL}))["status"] == 403
    made = robot.post(f"/jobs/{job.id}/webhooks", {"url": URL, "events": ["job.*"]})
    assert made.status_code == 201
    assert made.json()["jobId"] == job.id
    assert Delivery.objects.filter(job_id=job.id).count() == len(outbox.of_job(job.id)) > 0


def test_a_job_that_may_not_be_seen_has_no_webhooks(admin):
    _, secret = tokens.make("narrow", by="tests", scopes=[tokens.SUBMIT], projects=["alpha"])
    headers = {"authorization": f"Bearer {secret}"}
    for project, status in (("beta", 404), ("alpha", 201)):
        job = completed(project=project)
        path = f"{API}/jobs/{job.id}/webhooks"
        assert admin.client.post(path, {"url": URL}, content_type="application/json", headers=headers).status_code == status


def test_who_sees_a_part_manages_none(admin):
    _, secret = tokens.make("part", by="tests", scopes=[tokens.ADMIN], projects=["alpha"])
    answer = admin.client.get(f"{API}/webhooks", headers={"authorization": f"Bearer {secret}"})
    assert problem(answer)["status"] == 403


def test_the_log_shows_what_was_given_up_and_it_is_sent_again(admin):
    hook = admin.post("/webhooks", {"url": URL}).json()
    trial = admin.post(f"/webhooks/{hook['id']}/trial").json()
    assert (trial["type"], trial["state"]) == (webhooks.TRIAL, "waiting")
    Delivery.objects.update(tries=deliveries.MOST_TRIES - 1)
    (claimed,) = deliveries.claim(1, {})
    deliveries.note(claimed, deliveries.Outcome(status=500, error="it answered 500"))
    assert admin.get("/webhooks").json()["webhooks"][0]["dead"] == 1
    (dead,) = admin.get(f"/webhooks/{hook['id']}/deliveries", state="dead").json()["deliveries"]
    assert (dead["statusCode"], dead["lastError"], "nextAt" in dead) == (500, "it answered 500", False)
    again = admin.post(f"/deliveries/{dead['id']}/resend")
    assert (again.status_code, again.json()["state"], again.json()["tries"]) == (202, "waiting", 0)
    assert admin.get(f"/webhooks/{hook['id']}/deliveries", before=dead["id"]).json()["deliveries"] == []


def test_removed_is_removed(admin):
    hook = admin.post("/webhooks", {"url": URL}).json()
    assert admin.client.delete(f"{API}/webhooks/{hook['id']}").status_code == 204
    assert problem(admin.client.delete(f"{API}/webhooks/{hook['id']}"))["status"] == 404
    assert problem(admin.get(f"/webhooks/{hook['id']}/deliveries"))["status"] == 404
    assert problem(admin.post("/deliveries/999999/resend"))["status"] == 404


def test_a_new_secret_is_shown_once_and_the_one_before_signs_for_a_day(admin):
    hook = admin.post("/webhooks", {"url": URL}).json()
    before = time.time() * 1000
    answer = admin.post(f"/webhooks/{hook['id']}/secret", {})
    rotated = answer.json()
    assert answer.status_code == 200
    assert rotated["secret"].startswith("whsec_")
    assert rotated["secret"] != hook["secret"]
    assert before + 86_390_000 < rotated["oldSecretUntil"] < before + 86_500_000
    listed = admin.get("/webhooks")
    assert listed.json()["webhooks"][0]["oldSecretUntil"] == rotated["oldSecretUntil"]
    assert rotated["secret"] not in listed.content.decode()
    assert AuditEntry.objects.filter(action="rotate webhook", actor="token:admin").count() == 1


def test_the_one_before_may_end_at_once(admin):
    hook = admin.post("/webhooks", {"url": URL}).json()
    rotated = admin.post(f"/webhooks/{hook['id']}/secret", {"oldSignsForMs": 0}).json()
    assert "oldSecretUntil" not in rotated
    assert Webhook.objects.get().old_secret == ""


@pytest.mark.parametrize(
    "body", [{"oldSignsForMs": -1}, {"oldSignsForMs": 31 * 86_400_000}, {"oldSignsForMs": "1"}, {"secret": "mine"}]
)
def test_a_rotation_that_is_not_understood_changes_nothing(admin, body):
    hook = admin.post("/webhooks", {"url": URL}).json()
    kept = Webhook.objects.get().secret
    assert problem(admin.post(f"/webhooks/{hook['id']}/secret", body))["status"] == 422
    assert problem(admin.post("/webhooks/999999/secret", {}))["status"] == 404
    assert Webhook.objects.get().secret == kept
