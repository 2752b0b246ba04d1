"""Both clients against a running Jobsite: every test is run with the blocking and with the asynchronous one."""

import asyncio
import inspect
import threading
import time
import uuid
from contextlib import asynccontextmanager

import pytest

from benchmarks.stack import free_port
from jobsite_client import (
    AsyncClient,
    Backoff,
    Client,
    Conflict,
    JobCancelled,
    JobFailed,
    NewJob,
    NotFound,
    Refused,
    Unauthorised,
    UnexpectedAnswer,
    Unreachable,
    WaitedTooLong,
)
from tests.client.conftest import losing_answers

QUICK = Backoff(tries=4, first=0.05, longest=0.2)


class Told:
    """The blocking client, spoken to as if it were asynchronous: what it gives is awaited, or iterated over."""

    def __init__(self, client):
        self._client = client

    def __getattr__(self, name):
        method = getattr(self._client, name)

        def call(*args, **kwargs):
            answer = method(*args, **kwargs)
            return _items(answer) if inspect.isgenerator(answer) else _value(answer)

        return call


async def _value(value):
    return value


async def _items(items):
    for item in items:
        yield item


@asynccontextmanager
async def opened(kind, *args, **kwargs):
    if kind == "sync":
        with Client(*args, **kwargs) as client:
            yield Told(client)
    else:
        async with AsyncClient(*args, **kwargs) as client:
            yield client


@pytest.fixture(params=["sync", "async"])
def kind(request):
    return request.param


@pytest.mark.asyncio
async def test_submit_wait_and_result(door, kind):
    async with opened(kind, door.url, door.token) as client:
        job = await client.submit("door.echo", {"text": "hello", "number": 3}, priority="high", metadata={"userId": "u"})
        assert job.status == "pending"
        assert door.until_final(job.job_id) == "completed"
        result = await client.result(job.job_id)
        assert result.value == {"text": "hello", "number": 3}
        assert not result.is_error
        whole = await client.full(job.job_id)
        assert (whole.params["number"], whole.priority, whole.metadata["userId"]) == (3, "high", "u")


@pytest.mark.asyncio
async def test_run_gives_what_the_tool_returned(door, kind, until):
    until.touch()
    async with opened(kind, door.url, door.token) as client:
        assert (await client.run("door.until", {"path": str(until)}, timeout=30)).value == "there"


@pytest.mark.asyncio
async def test_following_gives_progress_that_grows_and_ends_with_the_end(door, kind, until):
    async with opened(kind, door.url, door.token) as client:
        job = await client.submit("door.until", {"path": str(until)})
        seen = []
        async for status in client.follow(job.job_id, timeout=60):
            seen.append(status)
            if len({s.progress for s in seen if s.status == "running"}) >= 2:
                until.touch()
        running = [s.progress for s in seen if s.status == "running"]
        assert running == sorted(running)
        assert len(set(running)) >= 2
        assert seen[-1].status == "completed"
        assert seen[-1].polling_recommendation is None
        assert any(s.details.current_stage == "waiting" for s in seen)


@pytest.mark.asyncio
async def test_progress_is_pushed_and_not_fetched(door, kind, until):
    """Ten reports a second are seen, where polling would see one in two seconds; and each status brings its new lines."""
    async with opened(kind, door.url, door.token) as client:
        job = await client.submit("door.until", {"path": str(until)})
        ticks = []
        async for status in client.follow(job.job_id, timeout=60):
            if status.status == "running" and status.message:
                ticks.append((time.monotonic(), status.message))
            if len(ticks) >= 10:
                until.touch()
        assert status.details.diagnostics == ["seen"]
    assert len({message for _, message in ticks[:10]}) == 10
    assert ticks[9][0] - ticks[0][0] < 10


@pytest.mark.asyncio
async def test_waiting_is_woken_by_the_end_and_not_by_the_clock(door, kind, until):
    async with opened(kind, door.url, door.token) as client:
        job = await client.submit("door.until", {"path": str(until)})
        door.until_running(job.job_id)
        threading.Timer(1.0, until.touch).start()
        assert (await client.wait(job.job_id, timeout=60)).status == "completed"
        finished = (await client.full(job.job_id)).finished_at
        assert time.time() * 1000 - finished < 1500


@pytest.mark.asyncio
async def test_a_failed_job_raises_the_error_of_the_tool(door, kind):
    async with opened(kind, door.url, door.token) as client:
        job = await client.submit("door.fail", {"message": "the disk is gone"})
        door.until_final(job.job_id)
        with pytest.raises(JobFailed) as failure:
            await client.result(job.job_id, timeout=30)
    error = failure.value
    assert (error.job_id, error.tool, error.error_class) == (job.job_id, "door.fail", "Permanent")
    assert (error.message, error.category, error.status) == ("the disk is gone", "permanent", "failed")


@pytest.mark.asyncio
async def test_cancel_why_events_attempts_and_retry(door, kind, until):
    async with opened(kind, door.url, door.token) as client:
        job = await client.submit("door.until", {"path": str(until)}, delay_ms=3_600_000)
        why = await client.why(job.job_id)
        assert why.reason == "schedule"
        with pytest.raises(Conflict):
            await client.retry(job.job_id)
        assert (await client.cancel(job.job_id, "changed my mind")).status == "cancelled"
        with pytest.raises(JobCancelled, match="changed my mind"):
            await client.result(job.job_id)
        assert (await client.retry(job.job_id)).job_id == job.job_id
        verbs = [event.verb for event in await client.events(job.job_id)]
        assert [verb for verb in verbs if verb in ("submit", "cancel", "retry")] == ["submit", "cancel", "retry"]
        door.until_running(job.job_id)
        assert [attempt.number for attempt in await client.attempts(job.job_id)] == [1]
        await client.cancel(job.job_id)


@pytest.mark.asyncio
async def test_pause_resume_and_priority(door, kind):
    async with opened(kind, door.url, door.token) as client:
        job = await client.submit("door.echo", {"text": "a"}, delay_ms=3_600_000)
        await client.pause(job.job_id, "not today")
        assert (await client.why(job.job_id)).reason == "paused"
        await client.resume(job.job_id)
        await client.set_priority(job.job_id, "critical")
        assert (await client.full(job.job_id)).priority == "critical"
        await client.cancel(job.job_id)


@pytest.mark.asyncio
async def test_lists_go_on_over_pages(door, kind):
    project = f"p-{uuid.uuid4()}"
    async with opened(kind, door.url, door.token) as client:
        made = [(await client.submit("door.echo", {"text": str(n)}, project_id=project)).job_id for n in range(5)]
        first = await client.page(project=project, limit=2)
        second = await client.page(project=project, limit=2, cursor=first.next_cursor)
        assert [job.id for job in first.jobs + second.jobs] == made[:0:-1]
        assert [job.id async for job in client.jobs(project=project)] == made[::-1]


@pytest.mark.asyncio
async def test_a_batch_is_followed_until_all_its_jobs_are_final(door, kind):
    batch = f"b-{uuid.uuid4()}"
    async with opened(kind, door.url, door.token) as client:
        for tool, params in (("door.echo", {"text": "a"}), ("door.fail", {}), ("door.lines", {"count": 3})):
            await client.submit(tool, params, metadata={"batchId": batch})
        last = {}
        async for job in client.batch(batch, timeout=60):
            last[job.tool_name] = job.status
    assert last == {"door.echo": "completed", "door.fail": "failed", "door.lines": "completed"}


@pytest.mark.asyncio
async def test_many_jobs_are_handed_in_at_once_or_none(door, kind):
    batch = {"batchId": f"b-{uuid.uuid4()}"}
    async with opened(kind, door.url, door.token) as client:
        first = NewJob(tool_name="door.echo", params={"text": "1"}, key="first", metadata=batch)
        second = NewJob(tool_name="door.fail", dependencies=["first"], metadata=batch)
        made = await client.submit_many([first, second])
        assert [(job.key, job.tool_name) for job in made] == [("first", "door.echo"), (None, "door.fail")]
        assert [job.id for job in (await client.kin(made[1].job_id)).dependencies] == [made[0].job_id]
        assert door.until_final(made[1].job_id) == "failed"
        whole = await client.group(batch["batchId"])
        assert (whole.total, whole.by_status["failed"], whole.is_final) == (2, 1, True)
        assert await client.retry_group(batch["batchId"]) == 1
        assert door.until_final(made[1].job_id) == "failed"
        assert await client.cancel_group(batch["batchId"]) == 0
        before = door.jobs()
        with pytest.raises(Refused) as refusal:
            await client.submit_many([first, NewJob(tool_name="door.echo", params={})])
        assert door.jobs() == before
        assert refusal.value.faults[0].pointer == "/jobs/1/params/text"


@pytest.mark.asyncio
async def test_a_job_is_done_again_with_other_params(door, kind):
    async with opened(kind, door.url, door.token) as client:
        job = await client.submit("door.fail", {"message": "first"}, max_retries=0)
        assert door.until_final(job.job_id) == "failed"
        twin = await client.clone(job.job_id, {"message": "second"}, priority="low")
        await client.retry(job.job_id, {"message": "third"})
        for job_id, message in ((twin.job_id, "second"), (job.job_id, "third")):
            assert door.until_final(job_id) == "failed"
            assert (await client.attempts(job_id))[-1].error_message == message
        assert (await client.full(twin.job_id)).priority == "low"


@pytest.mark.asyncio
async def test_the_whole(door, kind):
    async with opened(kind, door.url, door.token) as client:
        (tool,) = [tool for tool in await client.tools() if tool.name == "door.echo"]
        assert tool.params["properties"]["text"]["type"] == "string"
        assert (await client.queue()).running >= 0
        assert (await client.tool("door.echo")) == tool
        workers = await client.workers()
        assert (workers.dispatcher, [worker.slots for worker in workers.workers]) == (True, [2])
        done = await client.submit("door.echo", {"text": "x"})
        door.until_final(done.job_id)
        assert (await client.statistics()).by_status["completed"] >= 1
        assert (await client.metrics(done.job_id)).performance_score > 0


@pytest.mark.asyncio
async def test_what_is_refused_says_why(door, kind):
    async with opened(kind, door.url, door.token) as client:
        with pytest.raises(Refused) as refusal:
            await client.submit("door.echo", {"txt": 1})
        assert refusal.value.code == "invalid-params"
        assert {fault.pointer for fault in refusal.value.faults} == {"/params/text", "/params/txt"}
        with pytest.raises(NotFound):
            await client.get("door.echo-unknown")
    async with opened(kind, door.url, "jst_wrong") as client:
        with pytest.raises(Unauthorised):
            await client.queue()


@pytest.mark.asyncio
async def test_waiting_ends_when_its_time_is_over_and_the_job_goes_on(door, kind, until):
    async with opened(kind, door.url, door.token) as client:
        job = await client.submit("door.until", {"path": str(until)})
        began = time.monotonic()
        with pytest.raises(WaitedTooLong):
            await client.wait(job.job_id, timeout=1.2)
        assert time.monotonic() - began < 10
        until.touch()
        assert door.until_final(job.job_id) == "completed"
        assert (await client.wait(job.job_id)).status == "completed"


@pytest.mark.asyncio
async def test_a_lost_answer_makes_no_second_job(door, kind):
    before = door.jobs()
    with losing_answers(door.stack.port, losses=2) as road:
        async with opened(kind, road, door.token, backoff=QUICK) as client:
            job = await client.submit("door.echo", {"text": "once"})
    assert door.jobs() == before + 1
    assert door.until_final(job.job_id) == "completed"


@pytest.mark.asyncio
async def test_a_retry_whose_answer_was_lost_is_not_repeated(door, kind):
    async with opened(kind, door.url, door.token) as client:
        job = await client.submit("door.echo", {"text": "x"}, delay_ms=3_600_000)
        await client.cancel(job.job_id)
    with losing_answers(door.stack.port, losses=1) as road:
        async with opened(kind, road, door.token, backoff=QUICK) as lossy:
            with pytest.raises(Unreachable):
                await lossy.retry(job.job_id)
    async with opened(kind, door.url, door.token) as client:
        verbs = [event.verb for event in await client.events(job.job_id)]
        assert verbs.count("retry") == 1


@pytest.mark.asyncio
async def test_the_same_key_gives_the_same_job(door, kind):
    key = str(uuid.uuid4())
    async with opened(kind, door.url, door.token) as client:
        first = await client.submit("door.echo", {"text": "x"}, idempotency_key=key)
        assert (await client.submit("door.echo", {"text": "x"}, idempotency_key=key)).job_id == first.job_id
        with pytest.raises(Refused) as refusal:
            await client.submit("door.echo", {"text": "y"}, idempotency_key=key)
    assert refusal.value.code == "idempotency-mismatch"


@pytest.mark.asyncio
async def test_a_server_that_is_not_there_is_tried_again_and_then_said_so(kind):
    url = f"http://127.0.0.1:{free_port()}"
    began = time.monotonic()
    async with opened(kind, url, backoff=QUICK) as client:
        with pytest.raises(Unreachable, match="does not answer"):
            await client.queue()
    assert time.monotonic() - began >= 0.05 / 2 * (1 + 2 + 4)


@pytest.mark.asyncio
async def test_an_address_that_is_no_api_is_named(door, kind):
    async with opened(kind, f"{door.url}/accounts", door.token, backoff=QUICK) as client:
        with pytest.raises(UnexpectedAnswer):
            await client.queue()


def test_settings_come_from_the_environment(door, monkeypatch):
    monkeypatch.setenv("JOBSITE_URL", door.url + "/")
    monkeypatch.setenv("JOBSITE_TOKEN", door.token)
    with Client() as client:
        assert client.queue().total >= 0


@pytest.mark.asyncio
async def test_tasks_of_one_loop_share_a_client(door):
    async with AsyncClient(door.url, door.token) as client:
        results = await asyncio.gather(*(client.run("door.echo", {"text": str(n)}, timeout=60) for n in range(6)))
    assert [result.value["text"] for result in results] == [str(n) for n in range(6)]


@pytest.mark.asyncio
async def test_a_follower_that_stops_listening_leaves_nothing_behind(door, until):
    async with AsyncClient(door.url, door.token) as client:
        job = await client.submit("door.until", {"path": str(until)})

        async def listen():
            async for _ in client.follow(job.job_id):
                pass

        listening = asyncio.create_task(listen())
        await asyncio.sleep(0)
        listening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listening
        assert (await client.get(job.job_id)).status in ("pending", "running")
    until.touch()
    assert door.until_final(job.job_id) == "completed"
