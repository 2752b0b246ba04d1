"""11: a secret that is planted is found in no column, file, log, message, frame, page or answer."""

import asyncio
import base64
import contextlib
import json
import re
import threading
import urllib.error
import urllib.parse
import urllib.request

import pytest
import redis

from benchmarks.stack import wait_until
from tests.faults.invariants import FINAL
from tests.faults.page import Page, session
from tests.faults.test_sockets import until
from tests.faults.test_workers import NONE_LOST

PASSWORD = 'plänted "0451" hunter2'
REGISTERED = "registered/7788+value"
SCOPES = ("jobs:submit", "jobs:read", "jobs:control")
# fmt: off
PAGES = ("/", "/jobs/", "/jobs/export.csv", "/jobs/export.json", "/errors/", "/statistics/", "/audit/", "/tokens/", "/queue/",
         "/workers/", "/charts.json")
# fmt: on
OF_A_JOB = ("/jobs/{}/", "/jobs/{}/result.json", "/jobs/{}/log.txt", "/admin/jobs/job/{}/change/")
OF_THE_API = ("/jobs/{}", "/jobs/{}/full", "/jobs/{}/events", "/jobs/{}/attempts", "/jobs", "/statistics")


def forms(secret):
    """As it may stand somewhere: plain, in JSON both ways, in an address, as HTML, packed."""
    yield secret
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield urllib.parse.quote(secret, safe="")
    yield secret.replace('"', "&quot;")
    yield base64.b64encode(secret.encode()).decode()


class Monitor(threading.Thread):
    """Everything that anybody says to Redis; bodies of Celery's messages unpacked."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self._link = redis.Redis(unix_socket_path=str(path))
        self.said, self.listens, self.over = [], threading.Event(), threading.Event()

    def run(self):
        with contextlib.suppress(redis.RedisError), self._link.monitor() as monitor:
            self.listens.set()
            for command in monitor.listen():
                self.said.append(command["command"])
                self.said += [base64.b64decode(body).decode(errors="replace") for body in BODY.findall(command["command"])]
                if self.over.is_set():
                    return


BODY = re.compile(r'"body": ?\\*"([A-Za-z0-9+/=]+)')


class Frames(Page):
    """A page that keeps every frame."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.frames = []

    def hear(self, message):
        self.frames.append(json.dumps(message, ensure_ascii=False))
        super().hear(message)


def get(address, **headers):
    """What is shown, whatever the status."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=30) as answer:  # noqa: S310
            return answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.read().decode(errors="replace")


def post(running, path, token, body):
    request = urllib.request.Request(  # noqa: S310  (our own address)
        f"{running.address}/api/v1{path}",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def columns(running):
    """Every row of every table as text."""
    for (name,) in running.query("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"):
        for (row,) in running.query(f'SELECT t::text FROM "{name}" t'):  # noqa: S608  (names of our own tables)
            yield f"table {name}", row


def files(running):
    """Logs of our processes; all that PostgreSQL and Redis have on disk, its log and the write-ahead log too."""
    for folder in (running.logs, running.servers.var):
        for path in folder.rglob("*"):
            if path.is_file():
                yield f"file {path.name}", path.read_bytes().decode(errors="replace")


async def lived(running, cookie, token):
    """Jobs that say what is secret, seen by a page; what was answered, and the frames."""
    page = Frames(running.address, cookie)
    task = asyncio.create_task(page.keep_open())
    await asyncio.wait_for(page.open.wait(), 30)
    secret = {"password": PASSWORD, "note": f"use {REGISTERED}"}
    wanted = [
        {"toolName": "fault.blabs", "params": secret | {"fail": fail}, "metadata": {"token": PASSWORD, "note": REGISTERED}}
        for fail in (False, True)
    ]
    bad = {"toolName": "fault.blabs", "params": secret | {"fail": "perhaps"}}
    answers = [await asyncio.to_thread(post, running, "/jobs", token, body) for body in (*wanted, bad)]
    ids = [json.loads(text)["jobId"] for status, text in answers if status < 300]
    answers += [await asyncio.to_thread(post, running, f"/jobs/{ids[0]}/cancel", token, {"reason": f"because of {REGISTERED}"})]
    await asyncio.to_thread(running.await_ends, len(ids))
    await until(lambda: [page.statuses().get(job) in FINAL for job in ids] == [True, True], 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return ids, [status for status, _ in answers], [text for _, text in answers], page.frames


@pytest.mark.timeout(200)
@pytest.mark.fault("a secret planted in params, environment, token, and all that a tool says", "found nowhere")
def test_a_planted_secret_is_found_nowhere(site, row):
    with site(web=True, postgres=True, worker_processes=2, slots=4, LOG_LEVEL="DEBUG", FAULTS_API_TOKEN=REGISTERED) as running:
        monitor = Monitor(running.servers.redis_socket)
        monitor.start()
        assert monitor.listens.wait(10)
        token = running.manage("token", "create", "--name", "faults", *(x for s in SCOPES for x in ("--scope", s))).split()[-1]
        cookie = session(running)
        ids, statuses, answers, frames = asyncio.run(lived(running, cookie, token))
        assert len(ids) == 2, statuses
        wait_until("the log was written", lambda: "logged: signed in" in running.log("worker"))
        shown = [get(running.address + path, Cookie=f"sessionid={cookie}") for path in PAGES]
        shown += [get(running.address + path.format(job), Cookie=f"sessionid={cookie}") for job in ids for path in OF_A_JOB]
        bearer = f"Bearer {token}"
        told = [get(f"{running.address}/api/v1{path.format(job)}", Authorization=bearer) for job in ids for path in OF_THE_API]
        monitor.over.set()
        running.servers.redis_cli("PING")
        monitor.join(10)
        places = [
            *columns(running),
            *files(running),
            *(("answer", text) for text in (*answers, *told)),
            *(("page", text) for text in shown),
            *(("frame", text) for text in frames),
            *(("Redis", text) for text in monitor.said),
        ]
        row.seen = running.judge()
    kinds = ("table", "file", "answer", "page", "frame", "Redis")
    row.seen |= {f"{kind}_searched": sum(place.startswith(kind) for place, _ in places) for kind in kinds}
    found = {place for place, text in places for secret in (PASSWORD, REGISTERED, token) for form in forms(secret) if form in text}
    row.seen["found_in"] = len(found)
    masked = {place.split()[0] for place, text in places if "[masked]" in text}
    assert NONE_LOST.items() <= row.seen.items()
    assert found == set()
    # The places were not merely empty: what was covered is there.
    assert masked >= set(kinds), masked
