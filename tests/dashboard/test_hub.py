import asyncio
import json
import time
from unittest.mock import patch

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session as Session_
from django.test import Client

from dashboard.consumers import LiveConsumer
from dashboard.hub import hub
from jobs import lifecycle, redis_link, steering
from jobs.limits import GroupKind
from jobs.live import kept_up, listener
from jobs.models import ProjectAccess
from tests.factories import running, submitted

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.asyncio, pytest.mark.usefixtures("no_connection_stays")]


class Session:
    def __init__(self, key):
        self.session_key = key


async def socket(name="ada", projects=()):
    """A socket of somebody signed in, as Channels' authentication hands it on; a superuser unless limited to projects."""

    def sign_in():
        user = User.objects.filter(username=name).first() or User.objects.create_user(name, is_superuser=not projects)
        ProjectAccess.objects.bulk_create(ProjectAccess(user=user, project=project) for project in projects)
        client = Client()
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


async def it_listens():
    for _ in range(250):
        if listener().memory.complete_since < time.monotonic():
            return
        await asyncio.sleep(0.02)
    raise TimeoutError


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
    listener().note({"id": job.id, "v": [99, 0], "status": "running", "progress": 5.0})
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
    listener().note({"id": job.id, "v": (begun.job.version, 7), "progress": 7.0})
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
    await listener()._catch_up()
    while not await talk.receive_nothing(timeout=0.5):
        await talk.receive_from()
    await listener()._catch_up()
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

    task = asyncio.create_task(kept_up(loop, pause=0.01))
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


async def test_who_may_see_one_project_hears_of_no_other_one():
    talk = await socket("eve", ["A"])
    mine, other = [await sync_to_async(submitted)(project=project) for project in "AB"]
    await say(talk, t="hello", topic="jobs", ids=[mine.id, other.id])
    snapshot = await heard(talk, lambda m: m["t"] == "snapshot")
    assert [d["id"] for d in snapshot["jobs"]] == [mine.id]
    for job in (other, mine):
        await sync_to_async(lifecycle.cancel)(job.id, by="t")
        # Progress says nothing of projects: what is known of the job decides.
        listener().note({"id": job.id, "v": (9, 9), "progress": 5.0, "status": "running", "project": job.project})
        listener().note({"id": job.id, "v": (9, 10), "progress": 6.0})
    seen = []
    while not seen or seen[-1].get("progress") != 6.0:
        seen += (await heard(talk, lambda m: m["t"] == "frame"))["jobs"]
    assert {d["id"] for d in seen} == {mine.id}
    await say(talk, t="hello", topic=f"job:{other.id}")
    assert (await heard(talk, lambda m: m["t"] == "snapshot"))["jobs"] == []
    await talk.disconnect()


async def test_a_permission_that_is_taken_away_counts_at_the_next_look():
    talk = await socket("eve", ["A", "B"])
    job = await sync_to_async(submitted)(project="B")
    await say(talk, t="hello", topic="jobs", ids=[job.id])
    assert (await heard(talk, lambda m: m["t"] == "snapshot"))["jobs"]
    await sync_to_async(ProjectAccess.objects.filter(project="B").delete)()
    await hub().check_now()
    assert (await heard(talk, lambda m: m["t"] == "snapshot"))["jobs"] == []
    await talk.disconnect()


async def test_a_page_of_a_batch_hears_of_its_jobs_only():
    talk = await socket()
    inside, outside = [await sync_to_async(submitted)(batch=batch) for batch in ("b1", "b2")]
    await say(talk, t="hello", topic="batch:b1", ids=[inside.id])
    await heard(talk, lambda m: m["t"] == "snapshot")
    for job in (outside, inside):
        await sync_to_async(lifecycle.cancel)(job.id, by="t")
    frame = await heard(talk, lambda m: m["t"] == "frame")
    assert {d["id"] for d in frame["jobs"]} == {inside.id}
    await talk.disconnect()


async def test_a_second_page_costs_no_query():
    first = await socket()
    job = await sync_to_async(submitted)()
    await say(first, t="hello", topic="jobs", ids=[job.id], away=2000)
    await heard(first, lambda m: m["t"] == "snapshot")
    await it_listens()
    await sync_to_async(lifecycle.cancel)(job.id, by="t")
    await heard(first, lambda m: m["t"] == "frame")
    second = await socket()
    await asyncio.sleep(0)
    with patch("dashboard.hub._read", side_effect=AssertionError("a query")):
        await say(second, t="hello", topic="jobs", ids=[job.id], away=1)
        snapshot = await heard(second, lambda m: m["t"] == "snapshot")
    assert [d["status"] for d in snapshot["jobs"]] == ["cancelled"]
    assert snapshot["e"] == hub().epoch
    await first.disconnect()
    await second.disconnect()


async def test_one_person_may_hold_so_many_sockets_and_no_more(settings):
    settings.JOBSITE_SOCKETS_PER_USER = 2
    held = [await socket() for _ in range(2)]
    one_more = await socket()
    closed = await one_more.receive_output(timeout=3)
    assert (closed["type"], closed["code"]) == ("websocket.close", 4409)
    other = await socket("bob")
    await say(other, t="hello", topic="jobs")
    await heard(other, lambda m: m["t"] == "snapshot")
    for talk in [*held, one_more, other]:
        await talk.disconnect()


async def test_a_sign_out_closes_the_socket_without_waiting_for_the_next_look():
    talk = await socket()
    await say(talk, t="hello", topic="jobs")
    await heard(talk, lambda m: m["t"] == "snapshot")
    await it_listens()

    def sign_out():
        client = Client()
        client.cookies["sessionid"] = Session_.objects.get().session_key
        assert client.post("/sign-out/").status_code == 302

    await sync_to_async(sign_out)()
    closed = await talk.receive_output(timeout=5)
    assert (closed["type"], closed["code"]) == ("websocket.close", 4401)
    await talk.disconnect()


async def test_a_job_that_is_over_at_once_is_seen_at_once():
    talk = await socket()
    job = await sync_to_async(submitted)()
    await say(talk, t="hello", topic="jobs", ids=[job.id])
    await heard(talk, lambda m: m["t"] == "snapshot")
    began = time.monotonic()
    for version, status in enumerate(("pending", "running", "completed"), 50):
        listener().note({"id": job.id, "v": [version, 0], "status": status, "progress": 0.0})
        await heard(talk, lambda m, status=status: m["t"] == "frame" and m["jobs"][0]["status"] == status)
    assert time.monotonic() - began < 0.08
    await talk.disconnect()


async def test_a_hundred_open_pages_are_healed_by_one_read_and_get_one_frame_each():
    job = await sync_to_async(submitted)()
    talks = [await socket() for _ in range(100)]
    for talk in talks:
        await say(talk, t="hello", topic="jobs", ids=[job.id])
        await heard(talk, lambda m: m["t"] == "snapshot")
    with (
        patch("jobs.live.moved_lately", return_value=[]) as read,
        patch("dashboard.hub._read", side_effect=AssertionError("a query")),
    ):
        await listener()._catch_up()
        listener().note({"id": job.id, "v": [99, 0], "status": "running", "progress": 5.0})
        frames = [await heard(talk, lambda m: m["t"] == "frame" and m["jobs"][0]["v"] == [99, 0]) for talk in talks]
    assert read.call_count <= 2  # ours, and perhaps the regular one
    assert len({json.dumps(frame) for frame in frames}) == 1
    for talk in talks:
        await talk.disconnect()


async def test_a_jobs_page_hears_of_the_jobs_around_it_that_one_may_see_and_of_no_lines_but_its_own():
    talk = await socket("eve", ["A"])
    mine, beside, hidden, other = [await sync_to_async(submitted)(project=project) for project in "AABA"]
    await say(talk, t="hello", topic=f"job:{mine.id}", ids=[beside.id, hidden.id])
    snapshot = await heard(talk, lambda m: m["t"] == "snapshot")
    assert {d["id"] for d in snapshot["jobs"]} == {mine.id, beside.id}
    for job in (other, hidden, beside, mine):
        listener().note({"id": job.id, "v": (9, 9), "progress": 5.0, "status": "running", "project": job.project})
        listener().note({"id": job.id, "v": (9, 10), "progress": 6.0, "diagnostics": [job.id]})
    seen = {}
    while seen.get(mine.id, {}).get("progress") != 6.0:
        seen |= {d["id"]: d for d in (await heard(talk, lambda m: m["t"] == "frame"))["jobs"]}
    assert seen.keys() == {mine.id, beside.id}
    assert "diagnostics" not in seen[beside.id]
    assert seen[mine.id]["diagnostics"] == [mine.id]
    await talk.disconnect()


async def test_a_page_of_a_job_in_line_is_told_once_that_the_line_moved_and_others_are_not():
    in_line, elsewhere = await socket(), await socket("bob")
    mine, other = [await sync_to_async(submitted)() for _ in range(2)]
    await say(in_line, t="hello", topic=f"job:{mine.id}", line=True)
    await say(elsewhere, t="hello", topic=f"job:{mine.id}")
    for talk in (in_line, elsewhere):
        await heard(talk, lambda m: m["t"] == "snapshot")
    await it_listens()
    # No job moves when a group is limited, and yet the reason of one that waits may be another.
    await sync_to_async(steering.limit)(GroupKind.TOOL, "test.add", max_running=1, per_minute=None, by="ann")
    listener().note({"id": other.id, "v": (9, 9), "status": "running", "progress": 0.0})
    told = await heard(in_line, lambda m: m.get("line"), seconds=15)
    assert told["jobs"] == []
    assert await in_line.receive_nothing(timeout=4)
    assert await elsewhere.receive_nothing(timeout=0.5)
    for talk in (in_line, elsewhere):
        await talk.disconnect()
