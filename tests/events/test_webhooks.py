"""Webhooks: written down with the event, sent signed, tried again, given up in sight of everybody who manages them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone
from standardwebhooks import Webhook as Verifier

from benchmarks.stack import free_port, wait_until
from jobs import deliveries, outbox, webhooks
from jobs.errors import InvalidRequest, NotFound
from jobs.models import AuditEntry, Delivery, Subscription, Webhook
from jobs.poster import Poster
from jobs.webhooks import About, TooManyWebhooks, WebhooksOff
from tests.events.receiver import Receiver, receiving
from tests.factories import completed, failed, submitted

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def receiver(tmp_path: Path, settings) -> Iterator[Receiver]:
    with receiving(tmp_path) as found:
        for name, value in found.settings.items():
            setattr(settings, name, value)
        written_down()
        yield found


def written_down() -> None:
    """Rounds of the courier until everything new is written down."""
    reader = outbox.Settled()
    while True:
        before, up_to = reader.up_to, reader.look()
        made = webhooks.write_down(up_to) if reader.is_known else 0
        if not made and up_to == before and reader.is_at_rest:
            return


@contextmanager
def posting() -> Iterator[None]:
    poster = Poster()
    poster.start()
    try:
        yield
    finally:
        poster.stop()
        poster.join(20)
    assert not poster.is_alive()


def posted_until(phase: str, count: int = 1) -> list[Delivery]:
    with posting():
        wait_until(f"{count} {phase}", lambda: Delivery.objects.filter(phase=phase).count() == count, 30)
    return list(Delivery.objects.filter(phase=phase).order_by("id"))


def tried_once() -> Delivery:
    """The only delivery, after a try that failed."""
    with posting():
        wait_until("a try has ended", lambda: Delivery.objects.exclude(last_error="").exists(), 30)
    return Delivery.objects.get()


def test_a_delivery_tells_what_happened_and_its_signature_holds(receiver):
    _, secret = webhooks.make(receiver.url, About(tool="test.add"), by="boss")
    job = completed()
    failed(submitted("test.walk"))
    written_down()
    (delivery,) = posted_until("delivered")
    (request,) = receiver.received
    assert Verifier(secret).verify(request.body, request.headers)["data"]["jobId"] == job.id
    body = json.loads(request.body)
    assert (body["type"], body["data"]["toolName"], body["data"]["status"]) == ("job.completed", "test.add", "completed")
    assert body["data"]["eventId"] == delivery.event_id
    assert (delivery.status_code, delivery.tries, request.headers["Webhook-Id"]) == (204, 1, f"msg_{delivery.pk}")


def test_another_secret_or_another_body_does_not_verify(receiver):
    _, secret = webhooks.make(receiver.url, About(), by="boss")
    _, other = webhooks.make(receiver.url, About(tool="nothing"), by="boss")
    completed()
    written_down()
    posted_until("delivered")
    (request,) = receiver.received
    Verifier(secret).verify(request.body, request.headers)
    for key, body in ((other, request.body), (secret, request.body + b" ")):
        with pytest.raises(Exception, match="No matching signature"):
            Verifier(key).verify(body, request.headers)


def test_the_check_in_the_docs_takes_what_is_sent_and_nothing_else(receiver):
    code = Path("docs/webhooks.md").read_text().split("```python\n")[1].split("```")[0]
    place: dict[str, object] = {}
    exec(code, place)  # noqa: S102  (our own page)
    _, secret = webhooks.make(receiver.url, About(), by="boss")
    completed()
    written_down()
    posted_until("delivered")
    (request,) = receiver.received
    assert place["verified"](secret, request.headers, request.body)
    assert not place["verified"](secret, request.headers, request.body + b" ")
    assert not place["verified"](secret, request.headers | {"Webhook-Timestamp": "1"}, request.body)


def test_the_check_in_the_docs_takes_either_signature_after_a_rotation(receiver):
    code = Path("docs/webhooks.md").read_text().split("```python\n")[1].split("```")[0]
    place: dict[str, object] = {}
    exec(code, place)  # noqa: S102  (our own page)
    hook, old = webhooks.make(receiver.url, About(), by="boss")
    _, new = webhooks.rotate(hook.pk, by="boss")
    completed()
    written_down()
    posted_until("delivered")
    (request,) = receiver.received
    assert [place["verified"](secret, request.headers, request.body) for secret in (old, new)] == [True, True]


def test_a_webhook_of_a_job_is_told_of_moves_before_it_was_made_and_once(receiver):
    job = completed()
    written_down()
    hook, _ = webhooks.make(receiver.url, About(job_id=job.id), events=["job.*"], by="robot")
    completed()
    Subscription.objects.filter(name=webhooks.PLACE).update(position=0)
    written_down()
    kinds = list(hook.deliveries.order_by("event_id").values_list("kind", flat=True))
    assert kinds == ["job.submitted", "job.admitted", "job.started", "job.completed"]


def test_a_webhook_of_a_project_hears_that_project_only(receiver):
    webhooks.make(receiver.url, About(project="alpha"), events=["job.submitted"], by="boss")
    wanted = submitted(project="alpha")
    submitted(project="beta")
    submitted()
    written_down()
    assert list(Delivery.objects.values_list("job_id", flat=True)) == [wanted.id]


def test_what_was_rolled_back_is_never_told(receiver):
    webhooks.make(receiver.url, About(), events=["job.*"], by="boss")
    with transaction.atomic():
        submitted()
        transaction.set_rollback(True)
    written_down()
    assert not Delivery.objects.exists()


def test_a_redirect_is_no_delivery_and_is_not_followed(receiver):
    receiver.answer = lambda request: (307, {"Location": receiver.url + "/elsewhere"})
    webhooks.make(receiver.url, About(), by="boss")
    completed()
    written_down()
    delivery = tried_once()
    assert (delivery.phase, delivery.status_code, delivery.last_error) == ("waiting", 307, "it answered 307")
    assert {request.path for request in receiver.received} == {"/hook"}


def test_a_private_address_is_refused_when_it_is_sent(receiver, settings):
    settings.JOBSITE_WEBHOOK_LOOPBACK_FOR_TESTS = False
    webhooks.make(receiver.url, About(), by="boss")
    completed()
    written_down()
    assert "not public" in tried_once().last_error
    assert receiver.received == []


def test_a_host_that_is_no_longer_named_is_not_called(receiver, settings):
    webhooks.make(receiver.url, About(), by="boss")
    completed()
    written_down()
    settings.JOBSITE_WEBHOOK_HOSTS = ["hooks.example.org"]
    assert "JOBSITE_WEBHOOK_HOSTS" in tried_once().last_error
    assert receiver.received == []


def test_a_certificate_that_nobody_vouches_for_is_refused(receiver, settings):
    settings.JOBSITE_WEBHOOK_CA = ""
    webhooks.make(receiver.url, About(), by="boss")
    completed()
    written_down()
    assert "certificate" in tried_once().last_error.lower()
    assert receiver.received == []


def test_a_receiver_that_was_down_gets_it_when_it_is_up(tmp_path, settings):
    port = free_port()
    with receiving(tmp_path, port) as first:
        for name, value in first.settings.items():
            setattr(settings, name, value)
        written_down()
        webhooks.make(first.url, About(), by="boss")
    completed()
    written_down()
    delivery = tried_once()
    assert delivery.phase == "waiting"
    assert delivery.tries == 1
    with receiving(tmp_path, port) as second:
        Delivery.objects.update(next_at=Now())
        (delivery,) = posted_until("delivered")
        assert (delivery.tries, len(second.received)) == (2, 1)


def test_a_slow_receiver_is_given_up_in_time_and_keeps_nobody_waiting(receiver, monkeypatch):
    monkeypatch.setattr("jobs.poster.TRY_FOR", 3.0)
    free = threading.Event()
    receiver.answer = lambda request: (204, {}) if request.path == "/quick" else (free.wait(60), (204, {}))[1]
    slow, _ = webhooks.make(receiver.url, About(), by="boss")
    quick, _ = webhooks.make(receiver.url.replace("/hook", "/quick"), About(), by="boss")
    for _ in range(6):
        completed()
    written_down()
    with posting():
        wait_until("the quick one is done", lambda: quick.deliveries.filter(phase="delivered").count() == 6, 40)
        wait_until("the slow one was given up", lambda: slow.deliveries.exclude(last_error="").count() == 6, 40)
        assert set(slow.deliveries.values_list("phase", "last_error")) == {("waiting", "no answer within 3 s")}
        free.set()


def test_one_webhook_never_has_more_than_its_share_under_way(receiver):
    webhooks.make(receiver.url, About(), by="boss")
    for _ in range(7):
        submitted()
    Webhook.objects.update(events=["job.*"])
    written_down()
    taken = deliveries.claim(32, {})
    assert len(taken) == deliveries.MOST_OF_WEBHOOK
    assert deliveries.claim(32, {taken[0].webhook_id: deliveries.MOST_OF_WEBHOOK}) == []


def test_what_one_process_sends_another_does_not_until_its_hold_has_run_out(receiver):
    webhooks.make(receiver.url, About(), by="boss")
    completed()
    written_down()
    (mine,) = deliveries.claim(32, {})
    assert deliveries.claim(32, {}) == []
    Delivery.objects.update(next_at=Now())
    (theirs,) = deliveries.claim(32, {})
    assert deliveries.note(theirs, deliveries.Outcome(status=204))
    assert not deliveries.note(mine, deliveries.Outcome(error="too late")), "whoever took it up last says what came of it"
    assert Delivery.objects.get().phase == "delivered"


def test_pauses_double_up_to_an_hour_and_the_receiver_may_ask_for_more():
    assert [deliveries.pause_after(tries, drawn=1.0) for tries in (1, 2, 3, 4)] == [5, 10, 20, 40]
    assert deliveries.pause_after(50, drawn=1.0) == 3600
    assert deliveries.pause_after(1, 120, drawn=1.0) == 120
    assert deliveries.pause_after(1, 1e9, drawn=1.0) == 3600
    assert 4 <= deliveries.pause_after(1) <= 5


def test_after_the_last_try_it_is_dead_and_somebody_can_send_it_again(receiver):
    receiver.answer = lambda request: (500, {})
    webhooks.make(receiver.url, About(), by="boss")
    completed()
    written_down()
    Delivery.objects.update(tries=deliveries.MOST_TRIES - 1)
    (delivery,) = posted_until("dead")
    assert (delivery.tries, delivery.status_code) == (deliveries.MOST_TRIES, 500)
    assert list(deliveries.dead_by_webhook().values()) == [1]
    receiver.answer = lambda request: (200, {})
    deliveries.send_again(delivery.pk, by="boss")
    (again,) = posted_until("delivered")
    assert again.tries == 1
    assert {request.headers["Webhook-Id"] for request in receiver.received} == {f"msg_{delivery.pk}"}
    assert AuditEntry.objects.filter(action="send again", actor="boss").count() == 1


def test_a_receiver_that_is_gone_is_not_asked_again(receiver):
    receiver.answer = lambda request: (410, {})
    webhooks.make(receiver.url, About(), by="boss")
    completed()
    written_down()
    (delivery,) = posted_until("dead")
    assert delivery.tries == 1


def test_a_webhook_that_was_removed_is_told_nothing_more(receiver):
    hook, _ = webhooks.make(receiver.url, About(), by="boss")
    completed()
    written_down()
    webhooks.remove(hook.pk, by="boss")
    completed()
    written_down()
    assert [(row.phase, row.last_error) for row in Delivery.objects.all()] == [("dead", "the webhook was removed")]


def test_the_secret_is_nowhere_in_the_database(receiver):
    _, secret = webhooks.make(receiver.url, About(), by="boss")
    (stored,) = Webhook.objects.values_list("secret", flat=True)
    assert stored.startswith("sealed:v1:")
    assert secret not in str(list(AuditEntry.objects.values())) + str(list(Webhook.objects.values()))


def test_a_lost_key_fails_deliveries_and_says_so(receiver, settings):
    webhooks.make(receiver.url, About(), by="boss")
    completed()
    written_down()
    settings.SECRET_KEY = "another one, which opens nothing of before"
    assert "SECRET_KEY" in tried_once().last_error


def test_old_deliveries_are_forgotten_and_removed_webhooks_with_them(receiver):
    hook, _ = webhooks.make(receiver.url, About(), by="boss")
    completed()
    written_down()
    webhooks.remove(hook.pk, by="boss")
    assert deliveries.forget_old() == 0
    Delivery.objects.update(ended_at=Now() - timedelta(days=31))
    assert deliveries.forget_old() == 1
    assert not Webhook.objects.exists()


def test_without_named_hosts_webhooks_are_off(settings):
    settings.JOBSITE_WEBHOOK_HOSTS = []
    with pytest.raises(WebhooksOff):
        webhooks.make("https://hooks.example.org/", About(), by="boss")
    job = completed()
    assert job.status == "completed"
    written_down()
    assert not Subscription.objects.filter(name=webhooks.PLACE).exists()


def test_unknown_events_and_too_many_webhooks_of_a_job_are_refused(receiver):
    with pytest.raises(InvalidRequest, match=r"job\.exploded"):
        webhooks.make(receiver.url, About(), events=["job.exploded"], by="boss")
    job = submitted()
    for _ in range(webhooks.MOST_OF_JOB):
        webhooks.make(receiver.url, About(job_id=job.id), by="robot")
    with pytest.raises(TooManyWebhooks):
        webhooks.make(receiver.url, About(job_id=job.id), by="robot")


def test_events_are_kept_until_their_deliveries_are_written_down(receiver):
    webhooks.make(receiver.url, About(), by="boss")
    before = outbox.told_up_to()
    completed()
    assert outbox.told_up_to() == before
    written_down()
    assert outbox.told_up_to() > before


def test_after_a_rotation_both_secrets_verify_until_the_time_of_the_old_one_is_over(receiver):
    hook, old = webhooks.make(receiver.url, About(), by="boss")
    hook, new = webhooks.rotate(hook.pk, by="boss")
    _, never = webhooks.make(receiver.url, About(tool="nothing"), by="boss")
    completed()
    written_down()
    posted_until("delivered")
    Webhook.objects.filter(pk=hook.pk).update(old_until=Now())
    completed()
    written_down()
    posted_until("delivered", 2)
    both, after = receiver.received
    for secret, request in ((old, both), (new, both), (new, after)):
        Verifier(secret).verify(request.body, request.headers)
    for secret, request in ((never, both), (old, after)):
        with pytest.raises(Exception, match="No matching signature"):
            Verifier(secret).verify(request.body, request.headers)
    # Whoever sends cleans too.
    assert Webhook.objects.get(pk=hook.pk).old_secret == ""


def test_a_secret_that_got_out_signs_nothing_more_at_once(receiver):
    hook, old = webhooks.make(receiver.url, About(), by="boss")
    _, new = webhooks.rotate(hook.pk, by="boss", old_signs_for=timedelta(0))
    completed()
    written_down()
    posted_until("delivered")
    (request,) = receiver.received
    Verifier(new).verify(request.body, request.headers)
    with pytest.raises(Exception, match="No matching signature"):
        Verifier(old).verify(request.body, request.headers)


def test_a_further_rotation_forgets_all_but_the_last_two(receiver):
    hook, first = webhooks.make(receiver.url, About(), by="boss")
    _, second = webhooks.rotate(hook.pk, by="boss")
    hook, third = webhooks.rotate(hook.pk, by="boss")
    assert webhooks.signing(hook, timezone.now()) == [third, second]
    assert first not in webhooks.signing(hook, timezone.now())
    assert webhooks.signing(hook, hook.old_until) == [third]
    with pytest.raises(NotFound):
        webhooks.rotate(hook.pk + 1, by="boss")
