"""The same frames as server-sent events, where sockets are blocked."""

import asyncio
import json

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import AsyncClient

from jobs import lifecycle
from tests.factories import submitted

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.asyncio, pytest.mark.usefixtures("no_connection_stays")]


@sync_to_async
def signed_in():
    client = AsyncClient()
    client.force_login(User.objects.create_superuser("ada"))
    return client


async def test_where_sockets_are_blocked_the_same_frames_come_as_events():
    client, job = await signed_in(), await sync_to_async(submitted)()
    answer = await client.get(f"/live/events/?topic=jobs&ids={job.id}")
    assert answer.headers["Content-Type"] == "text/event-stream"
    stream = aiter(answer.streaming_content)

    async def event():
        while not (text := (await asyncio.wait_for(anext(stream), 5)).decode()).startswith("id: "):
            pass
        sent, data = text.strip().split("\ndata: ")
        return sent.removeprefix("id: "), json.loads(data)

    assert [d["status"] for d in (await event())[1]["jobs"]] == ["pending"]
    await sync_to_async(lifecycle.cancel)(job.id, by="t")
    frame = {"jobs": []}
    while [d["status"] for d in frame["jobs"]] != ["cancelled"]:
        seen, frame = await event()
    await stream.aclose()
    # The browser opens the next stream by itself and says what it has seen: what it missed comes at once.
    late = await sync_to_async(submitted)()
    again = await client.get("/live/events/?topic=jobs", headers={"Last-Event-ID": seen})
    stream = aiter(again.streaming_content)
    assert late.id in [d["id"] for d in (await event())[1]["jobs"]]
    await stream.aclose()


@pytest.mark.parametrize("query", ["", "?topic=users", "?topic=jobs&away=-1", "?topic=jobs&more=1"])
async def test_a_stream_of_nothing_known_is_refused(query):
    client = await signed_in()
    assert (await client.get(f"/live/events/{query}")).status_code == 400
    assert (await AsyncClient().get("/live/events/?topic=jobs")).status_code == 302
