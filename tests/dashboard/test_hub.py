import asyncio
import json
import time
from unittest.mock import patch

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client

from dashboard.consumers import LiveConsumer
from dashboard.hub import _kept_up, hub
from jobs import lifecycle, redis_link
from tests.factories import running, submitted

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.asyncio]


@pytest_asyncio.fixture(autouse=True)
async def no_connection_stays():
    """Queries of a loop run in a thread of their own, whose connection would outlive the test."""
    yield
    await sync_to_async(connections.close_all)()


class Session:
    def __init__(self, key):
        self.session_key = key


async def socket():
    """A socket of somebody signed in, as Channels' authentication hands it on."""

    def sign_in():
        client, user = Client(), User.objects.create_superuser("ada")
        client.force_login(user)
        return user, Session(client.session.session_key)

    user, session = await sync_to_async(sign_in)()
    talk = WebsocketCommunicator(LiveConsumer.as_asgi(), "/live/")
    talk.scope |= {"user": user, "session": session}
    assert (await talk.connect())[0]
    return talk


async def heard(talk, holds, seconds=5):
    """The first message that `holds`."""
    until = time.monotonic() + seconds
    while True:
        message = json.loads(await talk.receive_from(timeout=until - time.monotonic()))
        if holds(message):
            return message


async def say(talk, **message):
    await talk.send_to(json.dumps(message))


async def test_a_page_gets_the_state_of_what_it_shows_and_then_each_move():
    talk = await socket()
    job = await sync_to_async(submitted)()
    await say(talk, t="hello", topic="jobs", ids=[job.id])
    snapshot = await heard(talk, lambda m: m["t"] == "snapshot")
    assert [d["status"] for d in snapshot["jobs"]] == ["pending"]
    await sync_to_async(lifecycle.cancel)(job.id, by="t")
    frame = await heard(talk, lambda m: m["t"] == "frame" and any(d.get("status") == "cancelled" for d in m["jobs"]))
    assert frame["n"] > snapshot["n"]
    await talk.disconnect()


async def test_progress_reaches_the_page_of_the_job_within_a_quarter_of_a_second():
    talk = await socket()
    begun = await sync_to_async(running)()
    await say(talk, t="hello", topic=f"job:{begun.job.id}")
    await heard(talk, lambda m: m["t"] == "snapshot")
    # The first frame shows that the subscription stands.
    delta = {"id": begun.job.id, "v": [begun.job.version, 1], "progress": 1.0, "diagnostics": ["a"]}
    await sync_to_async(redis_link.publish)(redis_link.LIVE_CHANNEL, json.dumps([delta]).encode())
    await heard(talk, lambda m: m["t"] == "frame" and m["jobs"][0]["progress"] == 1.0)
    began = time.monotonic()
    delta |= {"v": [begun.job.version, 2], "progress": 2.0}
    await sync_to_async(redis_link.publish)(redis_link.LIVE_CHANNEL, json.dumps([delta]).encode())
    await heard(talk, lambda m: m["t"] == "frame" and m["jobs"][0]["progress"] == 2.0)
    assert time.monotonic() - began < 0.25
    await talk.disconnect()


async def test_a_stranger_is_let_go():
    talk = WebsocketCommunicator(LiveConsumer.as_asgi(), "/live/")
    await talk.connect()
    closed = await talk.receive_output(timeout=3)
    assert (closed["type"], closed["code"]) == ("websocket.close", 4401)
    await talk.disconnect()


@pytest.mark.parametrize(
    "text", ["x", "[]", '{"t": "die"}', '{"t": "hello", "topic": "users"}', '{"t": "ack", "n": "1"}', "x" * 20_000]
)
async def test_what_is_no_message_closes_the_socket(text):
    talk = await socket()
    await talk.send_to(text)
    closed = await talk.receive_output(timeout=3)
    assert (closed["type"], closed["code"]) == ("websocket.close", 4400)
    await talk.disconnect()


async def test_who_signed_out_is_let_go():
    talk = await socket()
    await sync_to_async(User.objects.update)(is_active=False)
    await hub().check_now()
    closed = await talk.receive_output(timeout=3)
    assert (closed["type"], closed["code"]) == ("websocket.close", 4401)
    await talk.disconnect()


async def test_a_client_that_does_not_acknowledge_gets_no_more_than_it_can_take_and_one_snapshot_later():
    talk = await socket()
    job = await sync_to_async(submitted)()
    await say(talk, t="hello", topic="jobs", ids=[job.id])
    await heard(talk, lambda m: m["t"] == "snapshot")
    mine = next(iter(hub().clients))
    mine.sent = mine.acked + 20
    hub().note({"id": job.id, "v": [99, 0], "status": "running", "progress": 5.0})
    for _ in range(100):
        if mine.behind:
            break
        await asyncio.sleep(0.02)
    assert mine.behind
    await say(talk, t="ack", n=mine.sent)
    await heard(talk, lambda m: m["t"] == "snapshot")
    assert not mine.behind
    await talk.disconnect()


async def test_progress_of_a_job_whose_start_was_never_heard_brings_its_status_along():
    talk = await socket()
    job = await sync_to_async(submitted)()
    await say(talk, t="hello", topic="jobs", ids=[job.id])
    await heard(talk, lambda m: m["t"] == "snapshot")
    with patch("jobs.redis_link.publish_all", return_value=False):
        begun = await sync_to_async(running)(job)
    hub().note({"id": job.id, "v": (begun.job.version, 7), "progress": 7.0})
    frame = await heard(talk, lambda m: m["t"] == "frame" and any(d["v"] == [begun.job.version, 7] for d in m["jobs"]))
    assert [(d["status"], d["progress"]) for d in frame["jobs"]] == [("running", 7.0)]
    await talk.disconnect()


async def test_a_page_that_was_away_hears_of_the_jobs_that_came_meanwhile():
    talk = await socket()
    job = await sync_to_async(submitted)()
    await say(talk, t="hello", topic="jobs", ids=[], away=20_000)
    snapshot = await heard(talk, lambda m: m["t"] == "snapshot")
    assert [d["id"] for d in snapshot["jobs"]] == [job.id]
    await talk.disconnect()


async def test_a_quiet_system_sends_nothing_again():
    talk = await socket()
    job = await sync_to_async(submitted)()
    await say(talk, t="hello", topic="jobs", ids=[job.id], away=20_000)
    await heard(talk, lambda m: m["t"] == "snapshot")
    await hub()._catch_up()
    while not await talk.receive_nothing(timeout=0.5):
        await talk.receive_from()
    await hub()._catch_up()
    assert await talk.receive_nothing(timeout=0.5)
    await talk.disconnect()


async def test_a_loop_that_breaks_begins_again():
    broken, again = asyncio.Event(), asyncio.Event()

    async def loop():
        if not broken.is_set():
            broken.set()
            raise ValueError("broken")
        again.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(_kept_up(loop, pause=0.01))
    await asyncio.wait_for(again.wait(), 5)
    task.cancel()


async def test_a_flood_closes_the_socket():
    talk = await socket()
    for _ in range(40):
        await say(talk, t="hello", topic="jobs")
    until = time.monotonic() + 5
    while (message := await talk.receive_output(timeout=until - time.monotonic()))["type"] != "websocket.close":
        pass
    assert message["code"] == 4429
    await talk.disconnect()
