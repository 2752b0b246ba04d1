"""One running stack and one Chromium for all browser tests."""

import json
import os
from urllib.request import Request, urlopen

import pytest

from benchmarks.browser import CHROMIUM, add_person, chromium, sign_in
from benchmarks.stack import ROOT, Stack, wait_until
from tests.browser.tools import EVIL

ARTIFACTS = ROOT / "artifacts"
HERE = str(ROOT / "tests" / "browser")

SETUP = """
from django.contrib.auth.models import Group, User
from jobs import lifecycle, steering, tokens, views_kept
from jobs.lifecycle import Submission
from jobs.limits import GroupKind
evil = {evil!r}
def make(n, tool, id=None, by=evil, depends_on=(), **params):
    lifecycle.submit_many(
        [Submission(tool=tool, id=id, params=params, project=evil, batch=evil, depends_on=depends_on) for _ in range(n)], by=by
    )
make(12, 'bench.noop')
make(1, 'browser.hostile', id='hostile')
make(1, 'browser.asks', id='asks')
make(1, 'bench.fail', id='broken', text=evil)
make(2, 'bench.fail', text=evil)
make(1, 'bench.ticker', id='runs', ticks=40_000, pause=0.1)
make(1, 'bench.noop', id='waits', depends_on=['runs'])
make(1, 'bench.noop', id='stopped', depends_on=['runs'])
lifecycle.cancel('stopped', by=evil)
steering.pause(GroupKind.PROJECT, 'elsewhere', by=evil[:100], reason=evil)
print('TOKEN', tokens.make('ci', by=evil[:100])[1])
eve = User.objects.create_user('eve', password={password!r})
eve.groups.add(Group.objects.get(name='viewer'))
views_kept.keep(User.objects.get(username='ada'), evil, 'status:failed')
"""
PASSWORD = "a-long-password-43"


def pytest_collection_modifyitems(items):
    """Last and together: Playwright keeps an event loop in this thread, in which Django would refuse to work for other tests."""
    items.sort(key=lambda item: str(item.path).startswith(HERE))


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None and not os.environ.get("CI"):
        pytest.skip("there is no chromium here; on Debian: apt-get install chromium")
    with chromium() as started:
        yield started


@pytest.fixture(scope="session")
def stack(browser):
    tools = "benchmarks.tools,tests.browser.tools"
    with Stack(web=True, worker_processes=4, slots=4, JOBSITE_TOOLS=tools, JOBSITE_GRACE="1") as running:
        add_person(running)
        said = running.manage("shell", "-v", "0", "-c", SETUP.format(evil=EVIL, password=PASSWORD))
        running.env["TOKEN"] = said.split("TOKEN ")[1].strip()
        counted = "SELECT count(*) FROM jobs_rollup WHERE kind = 'all' AND span = 'hour' AND completed >= 13 AND failed >= 3"
        wait_until("what happened is counted", lambda: running.one(counted))
        wait_until("the queue is sampled", lambda: running.one("SELECT count(*) FROM jobs_queuesample"))
        wait_until("a question is open", lambda: running.one("SELECT count(*) FROM jobs_askedquestion"))
        wait_until("one runs on", lambda: running.one("SELECT status = 'running' FROM jobs_job WHERE id = 'runs'"))
        yield running


def state_of(browser, stack, **who):
    context = browser.new_context(base_url=stack.address)
    sign_in(context.new_page(), **who)
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture(scope="session")
def signed_in(browser, stack):
    return state_of(browser, stack)


@pytest.fixture(scope="session")
def only_looks(browser, stack):
    """The cookies of somebody who may look and nothing else."""
    return state_of(browser, stack, name="eve", password=PASSWORD)


@pytest.fixture
def open_page(browser, stack, signed_in):
    """Pages of one person; whatever is wrong in the console, a refused style or script too, fails the test."""
    wrong, contexts = [], []

    def opened(*, expecting=("status of 422",), **how):
        """`expecting`: what the console may say; a form with a fault is answered with 422, which it calls a failure to load."""
        context = browser.new_context(**({"base_url": stack.address, "storage_state": signed_in, "locale": "en-GB"} | how))
        contexts.append(context)
        page = context.new_page()

        def heard(message):
            if message.type in {"error", "warning"} and not any(words in message.text for words in expecting):
                wrong.append(message.text)

        page.on("console", heard)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not wrong, wrong


@pytest.fixture
def page(open_page):
    return open_page(viewport={"width": 1280, "height": 900})


@pytest.fixture(scope="session")
def submit(stack):
    """Hand in jobs as a program does: `submit(tool, number, id=..., batch=..., depends_on=..., param=...)`."""

    def handed_in(tool, number=1, *, id=None, batch=None, depends_on=(), **params):  # noqa: A002
        wanted = {"toolName": tool, "params": params, "dependencies": list(depends_on)}
        wanted |= {"id": id} if id else {}
        wanted |= {"metadata": {"batchId": batch}} if batch else {}
        request = Request(  # noqa: S310  (our own address)
            f"{stack.address}/api/v1/bulk",
            data=json.dumps({"jobs": [wanted] * number}).encode(),
            headers={"Authorization": f"Bearer {stack.env['TOKEN']}", "Content-Type": "application/json"},
        )
        with urlopen(request, timeout=30) as answer:  # noqa: S310
            assert answer.status == 202

    return handed_in
