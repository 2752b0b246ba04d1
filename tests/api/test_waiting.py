"""Long polls and streams, over real sockets: a web server, its database and its Redis."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from benchmarks.stack import Stack, wait_until

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    # Without a worker, so that a job stays where the test puts it.
    with Stack(web=True, worker_processes=0, slots=0, JOBSITE_TOOLS="benchmarks.tools") as started:
        yield started


@pytest.fixture(scope="module")
def api(stack: Stack) -> Iterator[httpx.Client]:
    secret = stack.manage("token", "create", "--name", "follower", "--scope", "admin").split()[-1]
    with httpx.Client(base_url=f"{stack.address}/api/v1", headers={"Authorization": f"Bearer {secret}"}, timeout=40) as client:
        yield client


def submit(api: httpx.Client, **body: Any) -> str:
    answer = api.post("/jobs", json={"toolName": "bench.noop"} | body)
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["jobId"]
    return job_id


def look(api: httpx.Client, job_id: str, tag: str | None = None, **query: Any) -> httpx.Response:
    return api.get(f"/jobs/{job_id}", params=query, headers={"If-None-Match": tag} if tag else {})


def test_a_job_that_was_never_looked_at_is_answered_at_once_however_long_one_would_wait(api: httpx.Client) -> None:
    began = time.monotonic()
    assert look(api, submit(api), wait=20).json()["status"] == "pending"
    assert time.monotonic() - began < 5


def test_what_is_known_is_answered_with_304_and_no_body(api: httpx.Client) -> None:
    job_id = submit(api)
    first = look(api, job_id)
    again = look(api, job_id, tag=first.headers["ETag"])
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["Retry-After"]
    api.post(f"/jobs/{job_id}/pause")
    assert look(api, job_id, tag=first.headers["ETag"]).status_code == 200


def test_a_held_request_is_answered_when_the_job_moves(api: httpx.Client) -> None:
    job_id = submit(api)
    tag = look(api, job_id).headers["ETag"]
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(look, api, job_id, tag, wait=25)
        time.sleep(1.0)  # it must be seen to be held
        assert not held.done()
        began = time.monotonic()
        api.post(f"/jobs/{job_id}/cancel")
        answer = held.result(20)
    assert answer.json()["status"] == "cancelled"
    assert "pollingRecommendation" not in answer.json()
    assert answer.headers["ETag"] != tag
    assert time.monotonic() - began < 5


def test_a_held_request_is_answered_when_its_time_is_up(api: httpx.Client) -> None:
    job_id = submit(api)
    tag = look(api, job_id).headers["ETag"]
    began = time.monotonic()
    assert look(api, job_id, tag, wait=1).status_code == 304
    plain = look(api, job_id, wait=1)
    assert plain.json()["status"] == "pending"
    assert 1.9 < time.monotonic() - began < 10


def test_a_change_that_came_before_the_request_is_not_waited_for(api: httpx.Client) -> None:
    job_id = submit(api)
    tag = look(api, job_id).headers["ETag"]
    api.post(f"/jobs/{job_id}/pause")
    began = time.monotonic()
    assert look(api, job_id, tag, wait=20).status_code == 200
    assert time.monotonic() - began < 5


def test_who_waits_for_the_end_is_not_told_of_what_comes_before(api: httpx.Client) -> None:
    job_id = submit(api)
    with ThreadPoolExecutor(2) as pool:
        status = pool.submit(look, api, job_id, None, wait=25, until="end")
        result = pool.submit(api.get, f"/jobs/{job_id}/result", params={"wait": 25})
        api.post(f"/jobs/{job_id}/pause")
        time.sleep(1.0)  # the pause must be heard
        assert not status.done()
        assert not result.done()
        api.post(f"/jobs/{job_id}/cancel", json={"reason": "enough"})
        assert status.result(20).json()["status"] == "cancelled"
        assert result.result(20).json()["content"] == [{"type": "text", "text": "enough"}]


def test_a_finished_job_is_answered_at_once(api: httpx.Client) -> None:
    job_id = submit(api)
    api.post(f"/jobs/{job_id}/cancel")
    began = time.monotonic()
    for _ in range(3):
        assert look(api, job_id, wait=20).json()["status"] == "cancelled"
    assert time.monotonic() - began < 5


def test_a_batch_is_waited_for_as_a_whole(api: httpx.Client) -> None:
    ids = [submit(api, metadata={"batchId": "whole"}) for _ in range(2)]
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(api.get, "/batches/whole", params={"wait": 25, "until": "end"})
        api.post(f"/jobs/{ids[0]}/cancel")
        time.sleep(2.0)  # the first end must be heard, and not taken for the whole
        assert not held.done()
        api.post(f"/jobs/{ids[1]}/cancel")
        assert held.result(20).json()["byStatus"]["cancelled"] == 2


@pytest.mark.parametrize("query", [{"wait": 31}, {"wait": -1}, {"wait": "x"}, {"until": "never"}, {"wiat": 3}])
def test_a_wait_that_is_none_is_refused(api: httpx.Client, query: dict[str, Any]) -> None:
    assert look(api, submit(api), **query).status_code == 422


def events_of(lines: Iterator[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(id, event, data) of a stream."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield fields.get("id", ""), fields["event"], json.loads(fields["data"])
            fields = {}
        else:
            fields = {}


def test_the_stream_of_a_job_tells_every_move_and_ends_with_it(api: httpx.Client) -> None:
    job_id = submit(api)
    seen = []
    with api.stream("GET", f"/jobs/{job_id}/stream") as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        for place, kind, data in events_of(answer.iter_lines()):
            seen.append((place, kind, data["verb"]))
            assert data["jobId"] == job_id
            if data["verb"] == "submit":
                api.post(f"/jobs/{job_id}/pause", json={"reason": "later"})
            elif data["verb"] == "pause":
                assert data["reason"] == "later"
                api.post(f"/jobs/{job_id}/cancel")
    assert [verb for _, _, verb in seen] == ["submit", "pause", "cancel"]
    with api.stream("GET", f"/jobs/{job_id}/stream", headers={"Last-Event-ID": seen[0][0]}) as answer:
        assert [data["verb"] for _, _, data in events_of(answer.iter_lines())] == ["pause", "cancel"]
    # An EventSource that is answered so does not come again.
    assert api.get(f"/jobs/{job_id}/stream", headers={"Last-Event-ID": seen[-1][0]}).status_code == 204


def test_a_stream_of_a_batch_goes_on_where_it_broke_off_and_misses_nothing(api: httpx.Client) -> None:
    first = submit(api, metadata={"batchId": "broken"})
    with api.stream("GET", "/batches/broken/stream") as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("retry:")
        api.post(f"/jobs/{first}/pause")
        place, _, data = next(events_of(lines))
        assert (data["jobId"], data["verb"], data["batchId"]) == (first, "pause", "broken")
    other = submit(api)
    second = submit(api, metadata={"batchId": "broken"})
    with api.stream("GET", "/batches/broken/stream", headers={"Last-Event-ID": place}) as answer:
        told = events_of(answer.iter_lines())
        assert next(told)[2]["jobId"] == second
        api.post(f"/jobs/{other}/cancel")
        api.post(f"/jobs/{second}/cancel")
        assert next(told)[2]["verb"] == "cancel"


def test_the_stream_of_everything_shows_only_what_the_token_may_see(stack: Stack, api: httpx.Client) -> None:
    secret = stack.manage("token", "create", "--name", "narrow", "--project", "ours").split()[-1]
    with api.stream("GET", "/stream", headers={"Authorization": f"Bearer {secret}"}) as answer:
        lines = answer.iter_lines()
        next(lines)
        submit(api, projectId="theirs")
        mine = submit(api, projectId="ours")
        assert next(events_of(lines))[2]["jobId"] == mine
        assert api.get("/batches/nothing/stream").status_code == 404


@pytest.mark.parametrize("place", ["x", "-1", "1~", "9" * 40, "1~2,x"])
def test_a_place_that_no_stream_gave_is_refused(api: httpx.Client, place: str) -> None:
    assert api.get("/stream", headers={"Last-Event-ID": place}).status_code == 422


def test_a_job_is_told_of_also_when_redis_was_away_at_the_time(stack: Stack, api: httpx.Client) -> None:
    """The move is written past Redis: only the look at the event log can tell of it."""
    job_id = submit(api)
    tag = look(api, job_id).headers["ETag"]
    past_redis = (
        "from jobs import lifecycle, redis_link; redis_link.publish_all = lambda messages: False;"
        f"lifecycle.cancel('{job_id}', by='nobody')"
    )
    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(stack.manage, "shell", "-v", "0", "-c", past_redis)
        while (answer := look(api, job_id, tag, wait=25)).status_code == 304:
            assert not moving.done() or moving.result() is not None
    assert answer.json()["status"] == "cancelled"
    assert time.time() * 1000 - answer.json()["updatedAt"] < 15_000


def test_the_log_of_the_web_server_has_no_error(stack: Stack) -> None:
    wait_until("the log is written", lambda: True)
    assert "Traceback" not in stack.log("web"), stack.log("web")[-3000:]
