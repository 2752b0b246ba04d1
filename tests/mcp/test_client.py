"""The SDK's own client over HTTP against the running site, with tasks, without, and as an older client."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, ClassVar, Literal

import anyio
import httpx2
import pytest
import redis
from mcp import Client
from mcp.client import ClientExtension
from mcp.client.extension import ClaimContext, ResultClaim
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, ElicitRequestParams, ElicitResult, Request, RequestParams, Result
from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from benchmarks.stack import Stack
from jobs.mcp.task import EXTENSION

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(120)]

Connect = Callable[..., AbstractAsyncContextManager[Client]]


class Wire(Result):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow")


class CreatedTask(Wire):
    result_type: Literal["task"] = "task"
    task_id: str
    status: str
    ttl_ms: int | None
    poll_interval_ms: int | None = None


class TaskNow(Wire):
    status: str
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    input_requests: dict[str, Any] | None = None


class TaskParams(RequestParams):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)
    task_id: str


class TaskUpdateParams(TaskParams):
    input_responses: dict[str, Any]


class TaskRequest(Request[TaskParams, str]):
    name_param: ClassVar[str | None] = "taskId"


class TaskUpdateRequest(Request[TaskUpdateParams, str]):
    name_param: ClassVar[str | None] = "taskId"


class Tasks(ClientExtension):
    """Follows a task to its end, as a client that knows the extension does."""

    identifier = EXTENSION

    def __init__(self) -> None:
        self.created: list[CreatedTask] = []

    def claims(self) -> list[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=CreatedTask, resolve=self._follow)]

    async def _follow(self, created: CreatedTask, context: ClaimContext) -> CallToolResult:
        self.created.append(created)
        while True:
            now = await ask(context.session, "tasks/get", created.task_id)
            if now.status == "completed":
                return CallToolResult.model_validate(now.result)
            if now.status in {"failed", "cancelled"}:
                raise RuntimeError(f"{now.status}: {now.error}")
            if now.status == "input_required":
                replies = {key: {"action": "accept", "content": {"confirm": True}} for key in now.input_requests or {}}
                params = TaskUpdateParams(task_id=created.task_id, input_responses=replies)
                await context.session.send_request(TaskUpdateRequest(method="tasks/update", params=params), Wire)
            await anyio.sleep(0.2)


async def ask(session: Any, method: str, task_id: str) -> TaskNow:
    now: TaskNow = await session.send_request(TaskRequest(method=method, params=TaskParams(task_id=task_id)), TaskNow)
    return now


@pytest.fixture
def connect(site: Stack) -> Connect:
    @asynccontextmanager
    async def connected(token: str = "", **options: Any) -> AsyncIterator[Client]:
        headers = {"Authorization": f"Bearer {token or site.env['CONFORMANCE_TOKEN']}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=40) as http,
            Client(streamable_http_client(f"{site.address}/mcp", http_client=http), **options) as client,
        ):
            yield client

    return connected


async def test_every_registered_tool_is_offered_with_its_own_schema_beside_the_tools_of_the_queue(connect: Connect) -> None:
    async with connect() as client:
        assert client.protocol_version == "2026-07-28"
        offered = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert {"codemap", "slow_compute", "submit_job", "get_job", "wait_job", "list_jobs", "cancel_job"} <= offered.keys()
    assert {"retry_job", "answer_job", "why_waiting", "queue_status"} <= offered.keys()
    assert offered["greet"].input_schema["required"] == ["name"]
    snapshots = {name for name, tool in offered.items() if tool.output_schema["title"] == "JobSnapshot"}
    assert offered.keys() - snapshots == {"list_jobs", "queue_status"}


async def test_without_tasks_a_call_answers_at_once_with_the_snapshot_of_a_job(connect: Connect) -> None:
    async with connect() as client:
        began = time.monotonic()
        answer = await client.call_tool("slow_compute", {"seconds": 2, "label": "x"})
        assert time.monotonic() - began < 1.5
        shown = answer.structured_content
        assert shown["status"] in {"pending", "running"}
        assert shown["jobId"].startswith("slow_compute-")
        assert shown["jobId"] in answer.content[0].text
        assert shown["pollingRecommendation"]["interval"] > 0
        ended = await client.call_tool("wait_job", {"jobId": shown["jobId"]})
        assert ended.structured_content["status"] == "completed"
        assert ended.structured_content["result"]["structuredContent"] == {"result": "computed x"}
        assert "pollingRecommendation" not in ended.structured_content
        again = await client.call_tool("get_job", {"jobId": shown["jobId"]})
        assert again.structured_content["result"] == ended.structured_content["result"]


async def test_a_wait_ends_when_its_time_is_over(connect: Connect) -> None:
    async with connect() as client:
        job_id = (await client.call_tool("slow_compute", {"seconds": 60})).structured_content["jobId"]
        began = time.monotonic()
        waited = await client.call_tool("wait_job", {"jobId": job_id, "seconds": 1})
        assert 0.9 < time.monotonic() - began < 5
        assert waited.structured_content["status"] in {"pending", "running"}
        cancelled = await client.call_tool("cancel_job", {"jobId": job_id, "reason": "enough"})
        assert not cancelled.is_error
        ended = await client.call_tool("wait_job", {"jobId": job_id})
        assert ended.structured_content["status"] == "cancelled"
        assert "enough" in ended.content[0].text


async def test_with_tasks_a_call_becomes_a_task_that_the_client_follows_to_its_result(connect: Connect) -> None:
    tasks = Tasks()
    async with connect(extensions=[tasks]) as client:
        answer = await client.call_tool("slow_compute", {"seconds": 1, "label": "task"})
    (created,) = tasks.created
    assert created.status == "working"
    assert created.ttl_ms >= 3_600_000
    assert created.poll_interval_ms == 5000
    assert answer.structured_content["jobId"] == created.task_id
    assert answer.structured_content["result"]["structuredContent"] == {"result": "computed task"}


async def test_a_task_that_raised_is_completed_with_an_error_and_one_that_left_without_a_word_has_failed(connect: Connect) -> None:
    async with connect(extensions=[Tasks()]) as client:
        raised = await client.call_tool("failing_job", {})
        assert raised.is_error
        assert "it is meant to fail" in raised.content[0].text
        with pytest.raises(RuntimeError, match=r"failed: .*SystemExit"):
            await client.call_tool("protocol_error_job", {})


async def test_a_question_of_a_running_task_reaches_the_client(connect: Connect) -> None:
    async def reply(context: Any, params: ElicitRequestParams) -> ElicitResult:
        return ElicitResult(action="accept", content={"name": "Bea"})

    async with connect(extensions=[Tasks()], elicitation_callback=reply) as client:
        answer = await client.call_tool("confirm_delete", {"filename": "a.txt"})
        assert answer.structured_content["result"]["structuredContent"] == {"result": "a.txt is deleted"}
        # Asked before there is a task: the SDK's client answers by itself.
        greeted = await client.call_tool("test_tool_with_task", {})
        assert greeted.content[0].text == "Hello, Bea!"


async def test_without_tasks_a_question_is_in_the_snapshot_and_answered_by_a_tool(connect: Connect) -> None:
    async with connect() as client:
        job_id = (await client.call_tool("confirm_delete", {"filename": "b.txt"})).structured_content["jobId"]
        asked = (await client.call_tool("wait_job", {"jobId": job_id})).structured_content
        assert [question["key"] for question in asked["questions"]] == ["confirm"]
        assert (await client.call_tool("why_waiting", {"jobId": job_id})).structured_content["why"]["reason"] == "input"
        await client.call_tool("answer_job", {"jobId": job_id, "answers": {"confirm": {"action": "decline"}}})
        ended = await client.call_tool("wait_job", {"jobId": job_id})
        assert ended.structured_content["result"]["structuredContent"] == {"result": "b.txt is kept"}


async def test_a_task_of_another_token_is_unknown(connect: Connect, another_token: str) -> None:
    tasks = Tasks()
    async with connect(extensions=[tasks]) as client:
        await client.call_tool("slow_compute", {"seconds": 0})
        assert (await ask(client.session, "tasks/get", tasks.created[0].task_id)).status == "completed"
    async with connect(token=another_token, extensions=[Tasks()]) as stranger:
        for method in ("tasks/get", "tasks/cancel"):
            for task_id in (tasks.created[0].task_id, "no-such-task"):
                with pytest.raises(MCPError) as refused:
                    await ask(stranger.session, method, task_id)
                assert refused.value.code == -32602


async def test_a_client_of_the_handshake_era_is_served_too(connect: Connect) -> None:
    async with connect(mode="legacy") as client:
        assert client.protocol_version == "2025-11-25"
        answer = await client.call_tool("greet", {"name": "elder"})
        assert answer.content[0].text == "Hello, elder!"
        job_id = (await client.call_tool("slow_compute", {"seconds": 0})).structured_content["jobId"]
        assert (await client.call_tool("wait_job", {"jobId": job_id})).structured_content["status"] == "completed"


async def test_jobs_are_handed_in_listed_and_retried_as_over_the_api(connect: Connect) -> None:
    async with connect() as client:
        wanted = {"toolName": "slow_compute", "params": {"seconds": 0}, "priority": "high", "metadata": {"batchId": "agents"}}
        job_id = (await client.call_tool("submit_job", wanted)).structured_content["jobId"]
        await client.call_tool("wait_job", {"jobId": job_id})
        listed = await client.call_tool("list_jobs", {"batchId": "agents"})
        assert [job["id"] for job in listed.structured_content["jobs"]] == [job_id]
        refused = await client.call_tool("retry_job", {"jobId": job_id})
        assert refused.is_error
        assert "only failed and cancelled jobs" in refused.content[0].text
        assert (await client.call_tool("queue_status", {})).structured_content["total"] >= 1


async def test_many_agents_wait_without_a_thread_or_a_subscription_each(connect: Connect, site: Stack) -> None:
    async with connect() as client:
        job_id = (await client.call_tool("slow_compute", {"seconds": 60})).structured_content["jobId"]
        ended: list[str] = []

        async def wait() -> None:
            async with connect() as own:
                waited = await own.call_tool("wait_job", {"jobId": job_id})
                ended.append(waited.structured_content["status"])

        async with anyio.create_task_group() as waiting:
            before = listeners(site)
            for _ in range(30):
                waiting.start_soon(wait)
            async with httpx2.AsyncClient() as browser:
                for _ in range(5):
                    assert (await browser.get(f"{site.address}/readyz", timeout=20)).status_code == 200
            assert not ended, "whoever does not wait is answered before those who do"
            assert listeners(site) <= before + 1
            await client.call_tool("cancel_job", {"jobId": job_id})
        assert ended == ["cancelled"] * 30


def listeners(site: Stack) -> int:
    """How many connections listen to what happens to jobs."""
    channel = f"{site.env['JOBSITE_REDIS_PREFIX']}:live"
    with redis.Redis.from_url(site.env["REDIS_URL"]) as link:
        return int(link.pubsub_numsub(channel)[0][1])
