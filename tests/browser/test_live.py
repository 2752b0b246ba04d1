"""The whole thing, as a person sees it: real server, worker, dispatcher and a real Chromium."""

import os
import re

import pytest

from benchmarks.browser import CHROMIUM, add_person, chromium, sign_in
from benchmarks.stack import ROOT, Stack

ARTIFACTS = ROOT / "artifacts"

if CHROMIUM is None and not os.environ.get("CI"):
    pytest.skip("there is no chromium here; on Debian: apt-get install chromium", allow_module_level=True)

# Playwright runs an event loop in this thread; Django is only used by the stack's own processes.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(scope="module")
def stack():
    with Stack(web=True, JOBSITE_TOOLS="benchmarks.tools") as running:
        add_person(running)
        yield running


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser, stack):
    context = browser.new_context(base_url=stack.address, viewport={"width": 1280, "height": 800})
    opened = context.new_page()
    wrong = []
    opened.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    sign_in(opened)
    yield opened
    context.close()
    assert not wrong, wrong


def submit(page, tool, params):
    page.goto(f"/submit/?tool={tool}")
    page.fill("#id_params", params)
    page.get_by_role("button", name="Submit", exact=True).click()
    page.wait_for_url(re.compile(r"/jobs/.+/"))


def watch_the_bar(page):
    page.evaluate(
        """() => {
            window.neverReloaded = true;
            window.seen = [];
            new MutationObserver(() => window.seen.push(document.querySelector('.head progress')?.value))
                .observe(document.body, {subtree: true, attributes: true, childList: true, characterData: true});
        }"""
    )


def test_a_codemap_goes_from_pending_to_completed_with_its_bar_moving_and_no_reload(page):
    submit(page, "codemap", '{"package": "django"}')
    watch_the_bar(page)
    page.wait_for_selector(".head[data-status=completed]", timeout=60_000)
    page.wait_for_selector(
        ".json:has-text('internal_edges'), pre:has-text('internal_edges'), details:has-text('internal_edges')", state="attached"
    )
    values = [value for value in page.evaluate("window.seen") if value is not None]
    assert page.evaluate("window.neverReloaded")
    assert values == sorted(values)
    assert len(set(values)) >= 5
    assert values[-1] == 100


def test_a_running_job_is_cancelled_and_tried_again_from_its_page(page):
    submit(page, "bench.ticker", '{"ticks": 600, "pause": 0.05}')
    page.wait_for_selector(".head[data-status=running]")
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_selector(".head[data-status=cancelled]", timeout=20_000)
    page.get_by_role("button", name="Retry").click()
    page.wait_for_selector(".head[data-status=running]")
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_selector(".head[data-status=cancelled]", timeout=20_000)


def test_a_new_job_appears_in_the_open_list_and_moves_there(page, stack):
    page.goto("/jobs/")
    page.wait_for_selector(".live[data-live=on]")
    page.evaluate("window.neverReloaded = true")
    token = stack.manage("token", "create", "--name", "browser-test").splitlines()[-1]
    answer = page.context.request.post(
        "/api/v1/jobs",
        data={"toolName": "bench.ticker", "params": {"ticks": 20, "pause": 0.05}, "id": "fresh"},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.status == 202
    page.wait_for_selector("tr[data-job=fresh]")
    page.wait_for_selector("tr[data-job=fresh][data-status=completed]", timeout=20_000)
    assert page.evaluate("window.neverReloaded")


def test_pages_have_no_serious_accessibility_faults_and_are_kept_as_pictures(browser, page, stack):
    axe = (ROOT / "node_modules" / "axe-core" / "axe.min.js").read_text()
    state = page.context.storage_state()
    ARTIFACTS.mkdir(exist_ok=True)
    submit(page, "codemap", '{"package": "email"}')
    page.wait_for_selector(".head[data-status=completed]", timeout=30_000)
    job = page.url.removeprefix(stack.address)
    for look in ("light", "dark"):
        for width in (1280, 360):
            context = browser.new_context(
                base_url=stack.address,
                storage_state=state,
                color_scheme=look,
                viewport={"width": width, "height": 800},
                bypass_csp=True,
            )
            shown = context.new_page()
            for name, address in {"overview": "/", "jobs": "/jobs/", "job": job, "submit": "/submit/"}.items():
                shown.goto(address)
                shown.screenshot(path=ARTIFACTS / f"{name}-{look}-{width}.png", full_page=True)
                assert shown.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{name} is wider than {width}"
                shown.add_script_tag(content=axe)
                found = shown.evaluate("axe.run().then(r => r.violations)")
                serious = [v["id"] + ": " + v["nodes"][0]["html"] for v in found if v["impact"] in {"serious", "critical"}]
                assert not serious, (name, look, width, serious)
            context.close()
