"""Receivers are told of every event, after its commit, in order, at least once, and also after they failed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction
from django.db.models.functions import Now

from benchmarks.stack import wait_until
from jobs import lifecycle, outbox, receivers
from jobs.courier import Courier
from jobs.models import Event, Subscription
from jobs.receivers import Happened, on
from tests.factories import completed, failed, submitted

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def heard() -> Iterator[list[Happened]]:
    """What a subscriber called "ear" was told; it subscribes to everything, from now on."""
    told: list[Happened] = []
    on("job.*", name="ear")(told.append)
    settle()
    yield told
    receivers.forget("ear")


def settle() -> int:
    """Rounds of the courier until there is nothing new; how many calls were made."""
    reader, calls = outbox.Settled(), 0
    while True:
        before, up_to = reader.up_to, reader.look()
        calls += outbox.tell_all(up_to) if reader.is_known else 0
        if up_to == before and reader.is_at_rest:
            return calls


def test_events_come_in_order_with_their_words(heard: list[Happened]) -> None:
    job = completed()
    settle()
    assert [event.kind for event in heard] == ["job.submitted", "job.admitted", "job.started", "job.completed"]
    assert {(event.job_id, event.tool) for event in heard} == {(job.id, "test.add")}
    assert [event.id for event in heard] == sorted(Event.objects.values_list("id", flat=True))
    settle()
    assert len(heard) == 4


def test_a_new_subscriber_hears_what_happens_from_then_on() -> None:
    submitted()
    told: list[Happened] = []
    on("job.submitted", name="late")(told.append)
    try:
        settle()
        assert told == []
        job = submitted()
        settle()
        assert [event.job_id for event in told] == [job.id]
    finally:
        receivers.forget("late")


def test_a_subscriber_hears_its_kinds_and_its_tool_only() -> None:
    told: list[Happened] = []
    on("job.finished", tool="test.walk", name="picky")(told.append)
    try:
        settle()
        completed()
        failed(submitted("test.walk"))
        settle()
        assert [(event.kind, event.tool) for event in told] == [("job.failed", "test.walk")]
    finally:
        receivers.forget("picky")


def test_a_receiver_that_fails_is_told_again_and_nothing_passes_it() -> None:
    told: list[str] = []
    broken = [True]

    @on("job.submitted", name="shaky")
    def shaky(event: Happened) -> None:
        told.append(event.job_id)
        if broken[0]:
            raise RuntimeError("not now")

    try:
        settle()
        first, second = submitted(), submitted()
        settle()
        place = Subscription.objects.get(name="shaky")
        assert told == [first.id]
        assert (place.failures, place.last_error) == (1, "RuntimeError: not now")
        assert place.retry_at is not None
        settle()
        assert told == [first.id], "it is left in peace until its time has come"
        broken[0] = False
        Subscription.objects.filter(name="shaky").update(retry_at=Now())
        settle()
        assert told == [first.id, first.id, second.id]
        assert Subscription.objects.get(name="shaky").failures == 0
    finally:
        receivers.forget("shaky")


def test_the_pauses_between_tries_grow() -> None:
    on("job.submitted", name="never")(lambda event: 1 / 0)
    try:
        settle()
        submitted()
        waits = []
        for _ in range(4):
            settle()
            place = Subscription.objects.get(name="never")
            waits.append((place.retry_at - place.seen_at).total_seconds())
            Subscription.objects.filter(name="never").update(retry_at=Now())
        assert waits == pytest.approx([1, 2, 4, 8], abs=0.1)
    finally:
        receivers.forget("never")


def test_what_another_transaction_has_not_committed_yet_is_waited_for_and_not_passed_over(heard: list[Happened]) -> None:
    job = submitted()
    settle()
    heard.clear()
    with psycopg.connect(**connection.get_connection_params() | {"cursor_factory": None}) as other:
        # As a verb does: its job first, then its event, which gets the lower id and is committed last.
        other.execute("UPDATE jobs_job SET message = 'x' WHERE id = %s", [job.id])
        other.execute(
            "INSERT INTO jobs_event (job_id, verb, before, after, reason, actor, at)"
            " VALUES (%s, 'pause', 'pending', 'pending', '', 'slow', now())",
            [job.id],
        )
        fast = submitted()
        reader = outbox.Settled()
        for _ in range(5):
            outbox.tell_all(reader.look())
        assert heard == []
        other.commit()
    settle()
    assert [(event.actor, event.job_id) for event in heard] == [("slow", job.id), ("tester", fast.id)]


def test_nobody_is_told_before_it_is_known_how_far_the_log_is_complete() -> None:
    submitted()
    told: list[Happened] = []
    courier = Courier()
    on("job.*", name="new")(told.append)
    try:
        with psycopg.connect(**connection.get_connection_params() | {"cursor_factory": None}) as other:
            other.execute("SELECT pg_current_xact_id()")
            for _ in range(3):
                courier.one_round()
            assert not Subscription.objects.filter(name="new").exists()
        wait_until("the new one has its place", lambda: courier.one_round() or Subscription.objects.filter(name="new").exists())
        assert told == []
    finally:
        receivers.forget("new")


def test_what_was_rolled_back_is_never_told(heard: list[Happened]) -> None:
    with pytest.raises(ZeroDivisionError):
        _submit_and_fail()
    job = submitted()
    settle()
    assert [event.job_id for event in heard] == [job.id]


def _submit_and_fail() -> None:
    with transaction.atomic():
        lifecycle.submit(lifecycle.Submission(tool="test.add"), by="tester")
        raise ZeroDivisionError


def test_a_crash_between_call_and_note_repeats_one_event(monkeypatch: Any, heard: list[Happened]) -> None:
    jobs = [submitted(), submitted()]
    moved = outbox._move
    monkeypatch.setattr(outbox, "_move", _crash)
    with pytest.raises(SystemExit):
        settle()
    monkeypatch.setattr(outbox, "_move", moved)
    settle()
    assert [event.job_id for event in heard] == [jobs[0].id, jobs[0].id, jobs[1].id]


def _crash(place: Subscription, _: int) -> None:
    if place.name == "ear":
        raise SystemExit


@pytest.mark.parametrize("kinds", [(), ("job.exploded",), ("completed",)])
def test_an_unknown_event_is_refused_when_the_code_is_loaded(kinds: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="unknown event"):
        on(*kinds)


def test_two_subscribers_cannot_share_a_place() -> None:
    on("job.*", name="once")(print)
    try:
        with pytest.raises(ValueError, match="two subscribers"):
            on("job.*", name="once")(settle)  # type: ignore[type-var]
    finally:
        receivers.forget("once")


def test_what_has_not_been_told_must_be_kept(heard: list[Happened]) -> None:
    settle()
    before = outbox.told_up_to()
    submitted()
    assert outbox.told_up_to() == before
    settle()
    assert outbox.told_up_to() == Event.objects.latest("id").pk
