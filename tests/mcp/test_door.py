"""The door for agents: who gets in, from where, and what is refused with which words."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient

from benchmarks.stack import ROOT
from jobs import tokens
from jobs.mcp import task
from jobs.models import Event, Job
from tests.factories import completed, failed, submitted

pytestmark = pytest.mark.django_db

REVISION = "2026-07-28"
META = "io.modelcontextprotocol/"


class Agent:
    """A client of the newest revision, by hand, so that it can get things wrong."""

    def __init__(self, *scopes: str, tasks: bool = False, name: str = "robot", **limits: list[str]) -> None:
        self.secret = tokens.make(name, by="tests", scopes=scopes or tokens.DEFAULT_SCOPES, **limits)[1]
        self.capabilities: dict[str, Any] = {"extensions": {task.EXTENSION: {}}} if tasks else {}

    def post(self, body: Any, **headers: str) -> Any:
        headers = {"Authorization": f"Bearer {self.secret}", "Accept": "application/json, text/event-stream"} | headers
        text = body if isinstance(body, str) else json.dumps(body)
        return async_to_sync(AsyncClient().post)("/mcp", text, content_type="application/json", headers=headers)

    def ask(self, method: str, params: dict[str, Any] | None = None, **headers: str) -> Any:
        params = params or {}
        envelope = {f"{META}protocolVersion": REVISION, f"{META}clientCapabilities": self.capabilities}
        routing = {"Mcp-Protocol-Version": REVISION, "Mcp-Method": method}
        if name := params.get("name", params.get("taskId")):
            routing["Mcp-Name"] = name
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params | {"_meta": envelope}}
        return self.post(body, **routing | headers)

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        result: dict[str, Any] = self.ask("tools/call", {"name": tool, "arguments": arguments}).json()["result"]
        return result


def error_code(response: Any) -> int:
    code: int = response.json()["error"]["code"]
    return code


@pytest.mark.parametrize("header", ["", "Bearer nonsense", "Basic YTpi"])
def test_without_a_usable_token_nobody_gets_in(header: str) -> None:
    response = Agent().post({}, Authorization=header) if header else async_to_sync(AsyncClient().post)("/mcp")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_session_of_a_browser_is_no_proof(admin_user: Any) -> None:
    client = AsyncClient()
    client.force_login(admin_user)
    assert async_to_sync(client.post)("/mcp", "{}", content_type="application/json").status_code == 401


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://testserver.evil.example"])
def test_a_page_of_another_site_is_turned_away(origin: str) -> None:
    assert Agent().ask("tools/list", Origin=origin).status_code == 403


def test_our_own_pages_and_trusted_ones_are_let_in(settings: Any) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://agents.example"]
    agent = Agent()
    for origin in ("http://testserver", "https://agents.example"):
        assert agent.ask("tools/list", Origin=origin).status_code == 200


@pytest.mark.parametrize("method", ["get", "delete", "put"])
def test_there_are_no_streams_and_no_sessions(method: str) -> None:
    headers = {"Authorization": f"Bearer {Agent().secret}"}
    response = async_to_sync(getattr(AsyncClient(), method))("/mcp", headers=headers)
    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"


def test_a_body_beyond_the_limit_is_not_read(settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    assert Agent().post("x" * 1001).status_code == 413


def test_what_is_no_json_rpc_is_said_so() -> None:
    assert error_code(Agent().post("{", **{"Mcp-Protocol-Version": REVISION})) == -32700
    assert error_code(Agent(name="b").ask("nothing/here")) == -32601


def test_a_caller_is_offered_what_its_scopes_allow() -> None:
    def offered(*scopes: str) -> set[str]:
        listed = Agent(*scopes, name="-".join(scopes).replace(":", ".")).ask("tools/list").json()["result"]["tools"]
        return {tool["name"] for tool in listed}

    reader = offered(tokens.READ)
    assert reader == {"get_job", "wait_job", "list_jobs", "why_waiting", "queue_status"}
    assert {"submit_job", "answer_job", "test.add"} <= offered(tokens.READ, tokens.SUBMIT)
    assert {"cancel_job", "retry_job"} <= offered(tokens.CONTROL)


def test_a_call_beyond_the_scopes_is_an_error_that_the_agent_can_read() -> None:
    reader = Agent(tokens.READ)
    for name, arguments in (("test.add", {}), ("submit_job", {"toolName": "test.add"}), ("cancel_job", {"jobId": "x"})):
        answer = reader.call(name, **arguments)
        assert answer["isError"]
        assert "this needs the scope" in answer["content"][0]["text"]
    assert not Job.objects.exists()


def test_a_call_that_does_not_fit_the_schema_makes_no_job_and_says_what_is_wrong() -> None:
    agent = Agent()
    for arguments in ({"a": "many"}, {"c": 1}, {"a": "\x00"}):
        answer = agent.call("test.add", **arguments)
        assert answer["isError"]
    assert "a: Input should be a valid integer" in agent.call("test.add", a="many")["content"][0]["text"]
    assert "seconds" in agent.call("wait_job", jobId="x", seconds=26)["content"][0]["text"]
    assert not Job.objects.exists()


@pytest.mark.django_db(transaction=True)  # who waits gives its connection back, and with it a transaction of the test
def test_a_token_for_some_tools_is_offered_those_and_sees_their_jobs_only() -> None:
    agent = Agent(tools=["test.add"])
    offered = {tool["name"] for tool in agent.ask("tools/list").json()["result"]["tools"]}
    assert {name for name in offered if name.startswith("test.")} == {"test.add"}
    assert error_code(agent.ask("tools/call", {"name": "test.walk", "arguments": {}})) == -32602
    hidden = submitted("test.walk").id
    for verb in ("get_job", "wait_job", "cancel_job", "why_waiting"):
        assert "there is no job" in agent.call(verb, jobId=hidden)["content"][0]["text"]
    assert Job.objects.get().status == "pending"


def test_a_token_for_one_project_hands_in_for_that() -> None:
    agent = Agent(projects=["atlas"])
    job_id = agent.call("test.add")["structuredContent"]["jobId"]
    assert Job.objects.get(pk=job_id).project == "atlas"
    assert "only: atlas" in agent.call("submit_job", toolName="test.add", projectId="other")["content"][0]["text"]
    several = Agent(name="two", projects=["atlas", "borea"])
    assert several.call("test.add")["isError"]


def test_an_unknown_tool_is_a_protocol_error() -> None:
    assert error_code(Agent().ask("tools/call", {"name": "nothing", "arguments": {}})) == -32602


@pytest.mark.django_db(transaction=True)  # who waits gives its connection back, and with it a transaction of the test
def test_a_job_that_is_not_there_is_an_error_and_no_crash() -> None:
    agent = Agent()
    for verb in ("get_job", "wait_job", "why_waiting", "cancel_job", "retry_job", "answer_job"):
        arguments = {"jobId": "nothing"} | ({"answers": {}} if verb == "answer_job" else {})
        answer = agent.call(verb, **arguments)
        assert answer["isError"], verb
        assert "there is no job" in answer["content"][0]["text"]


def test_moves_of_an_agent_carry_the_name_of_its_token() -> None:
    agent = Agent(name="claude")
    job_id = agent.call("test.add", a=1)["structuredContent"]["jobId"]
    agent.call("cancel_job", jobId=job_id)
    agent.call("retry_job", jobId=job_id)
    assert set(Event.objects.filter(job=job_id).values_list("verb", "actor")) == {
        ("submit", "token:claude"),
        ("cancel", "token:claude"),
        ("retry", "token:claude"),
    }


def test_a_task_needs_a_client_that_declares_the_extension() -> None:
    response = Agent().ask("tasks/get", {"taskId": "x"})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == -32021
    assert response.json()["error"]["data"] == {"requiredCapabilities": {"extensions": {task.EXTENSION: {}}}}


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
def test_a_routing_header_that_names_another_task_is_refused(method: str) -> None:
    agent = Agent(tasks=True)
    task_id = agent.call("test.add")["taskId"]
    for name in ("another", ""):
        response = agent.ask(method, {"taskId": task_id}, **{"Mcp-Name": name})
        assert (response.status_code, error_code(response)) == (400, -32020)
    assert agent.ask("tasks/get", {"taskId": task_id}).status_code == 200
    assert Job.objects.get().status == "pending"


def test_a_task_of_somebody_else_is_as_unknown_as_one_that_never_was() -> None:
    agent = Agent(tasks=True)
    foreign = submitted().id
    for method in ("tasks/get", "tasks/update", "tasks/cancel"):
        told = [agent.ask(method, {"taskId": name}).json()["error"] for name in (foreign, "nothing")]
        assert [error["code"] for error in told] == [-32602, -32602]
        assert told[0]["message"].replace(foreign, "nothing") == told[1]["message"]
    assert Job.objects.get().status == "pending"


def test_tasks_follow_the_polling_contract_and_the_retention(settings: Any) -> None:
    agent = Agent(tasks=True)
    created = agent.call("test.add")
    assert created["resultType"] == "task"
    assert created["pollIntervalMs"] == 5000
    first = agent.ask("tasks/get", {"taskId": created["taskId"]}).json()["result"]
    assert (first["status"], first["pollIntervalMs"], first["resultType"]) == ("working", 5000, "complete")
    kept = settings.JOBSITE_RETENTION.total_seconds() * 1000
    assert kept <= created["ttlMs"] <= first["ttlMs"] < kept + 60_000
    completed(Job.objects.get())
    ended = agent.ask("tasks/get", {"taskId": created["taskId"]}).json()["result"]
    assert ended["status"] == "completed"
    assert "pollIntervalMs" not in ended
    assert ended["result"]["structuredContent"]["result"]["structuredContent"] == {"result": None}
    assert ended["result"]["isError"] is False


def test_a_job_that_raised_is_a_completed_task_with_an_error() -> None:
    agent = Agent(tasks=True)
    task_id = agent.call("test.add")["taskId"]
    failed(Job.objects.get())
    ended = agent.ask("tasks/get", {"taskId": task_id}).json()["result"]
    assert (ended["status"], ended["result"]["isError"]) == ("completed", True)
    assert "it broke" in ended["result"]["content"][0]["text"]


def test_a_token_that_may_only_read_cannot_cancel_a_task() -> None:
    agent = Agent(tokens.READ, tokens.SUBMIT, tasks=True)
    task_id = agent.call("test.add")["taskId"]
    assert error_code(agent.ask("tasks/cancel", {"taskId": task_id})) == -32602
    assert Job.objects.get().status == "pending"


def test_a_web_process_that_no_agent_calls_does_not_load_the_sdk():
    program = "import sys, jobsite.asgi; from django.urls import get_resolver, reverse; reverse('mcp'); print('mcp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
