"""The pages operators work with, in a real Chromium: charts, gauges, hostile text, phone, no JavaScript, keyboard, both looks."""

import os
from urllib.parse import urlsplit

import pytest

from benchmarks.browser import CHROMIUM, add_person, chromium, sign_in
from benchmarks.stack import ROOT, Stack, wait_until

ARTIFACTS = ROOT / "artifacts"
PAGES = {
    "overview": "/",
    "queue": "/queue/",
    "errors": "/errors/",
    "statistics": "/statistics/?period=hour",
    "workers": "/workers/",
    "sign-in": "/sign-in/",
}
EVIL = "<img src=x onerror=window.hacked=1>" + "W" * 60

if CHROMIUM is None and not os.environ.get("CI"):
    pytest.skip("there is no chromium here; on Debian: apt-get install chromium", allow_module_level=True)

# Playwright runs an event loop in this thread; Django is only used by the stack's own processes.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

SETUP = """
from jobs import lifecycle, steering
from jobs.lifecycle import Submission
from jobs.limits import GroupKind
evil = {evil!r}
def make(n, tool, **params):
    lifecycle.submit_many([Submission(tool=tool, params=params, project=evil, batch=evil) for _ in range(n)], by=evil)
make(12, 'bench.noop')
make(3, 'bench.fail', text=evil)
make(2, 'bench.ticker', ticks=40_000, pause=0.1)
make(4, 'bench.ticker', ticks=10, pause=0.05)
steering.pause(GroupKind.PROJECT, 'elsewhere', by=evil[:100], reason=evil)
steering.limit(GroupKind.TOOL, 'bench.ticker', max_running=2, per_minute=None, by=evil[:100])
"""


@pytest.fixture(scope="module")
def stack():
    # Two processes are busy all the time.
    with Stack(web=True, worker_processes=4, slots=3, JOBSITE_TOOLS="benchmarks.tools") as running:
        add_person(running)
        running.manage("shell", "-c", SETUP.format(evil=EVIL))
        counted = "SELECT count(*) FROM jobs_rollup WHERE kind = 'all' AND span = 'hour' AND completed >= 12"
        wait_until("what happened is counted", lambda: running.one(counted))
        wait_until("the queue is sampled", lambda: running.one("SELECT count(*) FROM jobs_queuesample"))
        yield running


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def signed_in(browser, stack):
    context = browser.new_context(base_url=stack.address)
    sign_in(context.new_page())
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def open_page(browser, stack, signed_in):
    """Pages of one person; whatever is wrong in the console, a refused style or script too, fails the test."""
    wrong, contexts = [], []

    def opened(**how):
        context = browser.new_context(**({"base_url": stack.address, "storage_state": signed_in, "locale": "en-GB"} | how))
        contexts.append(context)
        page = context.new_page()
        # A form with a fault is answered with 422, which the console calls a failure to load.
        page.on(
            "console",
            lambda message: (
                wrong.append(message.text) if message.type in {"error", "warning"} and "status of 422" not in message.text else None
            ),
        )
        page.on("pageerror", lambda error: wrong.append(str(error)))
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not wrong, wrong


def test_charts_are_drawn_under_the_strict_policy_and_follow_what_happens(open_page, stack):
    page = open_page(viewport={"width": 1280, "height": 900})
    page.goto("/")
    page.wait_for_selector(".plot canvas")
    assert page.locator(".plot canvas").count() == 5
    # Something is painted in the colour of completed jobs.
    painted = """() => {
        const canvas = document.querySelector('[data-plot=outcomes] canvas');
        const wanted = getComputedStyle(document.querySelector('.k-completed')).getPropertyValue('--tone').trim().slice(1);
        const [r, g, b] = [0, 2, 4].map((at) => parseInt(wanted.slice(at, at + 2), 16));
        const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        for (let at = 0; at < data.length; at += 4) if (data[at] === r && data[at + 1] === g && data[at + 2] === b) return true;
        return false;
    }"""
    wait_until("the chart is painted", lambda: page.evaluate(painted))
    key = page.locator("[data-key='outcomes completed']")
    before = int(key.inner_text())
    more = "from jobs import lifecycle; lifecycle.submit_many([lifecycle.Submission(tool='bench.noop')] * 5, by='t')"
    page.evaluate("window.neverReloaded = true")
    stack.manage("shell", "-c", more)
    wait_until("the chart follows", lambda: int(key.inner_text()) >= before + 5)
    assert page.evaluate("window.neverReloaded")


def test_the_range_is_in_the_address_and_every_chart_has_its_table(open_page):
    page = open_page()
    page.goto("/")
    page.get_by_role("link", name="Week").click()
    page.wait_for_url("**/?range=week")
    assert page.locator("nav.tabs [aria-current]").inner_text() == "Week"
    page.locator("details.table summary").first.click()
    assert page.get_by_role("columnheader", name="completed").is_visible()


def test_running_jobs_move_on_the_overview_without_reload(open_page):
    page = open_page()
    page.goto("/")
    page.wait_for_selector("tbody[data-live-rows=running] tr")
    first = page.locator("tbody[data-live-rows=running] progress").first
    before = float(first.get_attribute("value") or first.evaluate("bar => bar.value"))
    wait_until("the bar moves", lambda: first.evaluate("bar => bar.value") > before)
    clock = page.locator("tbody[data-live-rows=running] time").first
    text = clock.inner_text()
    wait_until("the clock ticks", lambda: clock.inner_text() != text)


def test_a_pause_of_everything_is_seen_by_another_reader_without_reload(open_page):
    reader, operator = open_page(), open_page()
    reader.goto("/queue/")
    reader.wait_for_selector(".live[data-live=on]")
    operator.goto("/queue/")
    form = operator.locator("form[action='/queue/pause/']", has=operator.locator("legend"))
    form.locator("input[name=reason]").fill("deploy")
    form.get_by_role("button", name="Pause").click()
    operator.get_by_text("nothing starts any more").wait_for()
    operator.get_by_role("button", name="Resume all").click()
    operator.get_by_text("is resumed").wait_for()


def test_a_wrong_setting_is_told_at_its_field_and_a_right_one_holds(open_page, stack):
    page = open_page()
    page.goto("/queue/")
    page.get_by_role("textbox", name="Slots").fill("-4")
    page.get_by_role("button", name="Change").click()
    page.wait_for_selector("[aria-invalid=true]")
    assert "whole number" in page.locator("#id_max_concurrent_jobs-wrong").inner_text()
    page.get_by_role("textbox", name="Slots").fill("4")
    page.get_by_role("button", name="Change").click()
    page.get_by_text("holds from now on").wait_for()
    assert stack.one("SELECT max_concurrent_jobs FROM jobs_queueconfig") == 4


def test_a_worker_is_drained_and_taken_back_by_keyboard_alone(open_page, stack):
    page = open_page()
    page.goto("/")
    page.keyboard.press("g")
    page.keyboard.press("w")
    page.wait_for_url("**/workers/")
    page.get_by_role("button", name="Drain").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Take back").wait_for()
    wait_until("the worker heard it", lambda: stack.one("SELECT draining_at IS NOT NULL FROM jobs_worker"))
    page.get_by_role("button", name="Take back").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Drain").wait_for()


def test_failures_that_are_alike_are_resolved_as_one_and_open_again_with_the_next(open_page, stack):
    page = open_page()
    page.goto("/errors/")
    page.get_by_text("ValueError").wait_for()
    assert page.get_by_text(EVIL).first.is_visible()
    page.get_by_role("button", name="Resolved").click()
    page.get_by_text("Nothing failed in this time that is still open.").wait_for()
    page.get_by_role("link", name="Resolved 1").click()
    page.get_by_role("button", name="Retry 3").click()
    page.get_by_text("3 jobs are pending again.").wait_for()
    again = "SELECT count(*) FROM jobs_attempt WHERE error_class = 'ValueError'"
    wait_until("they failed again", lambda: stack.one(again) == 6)
    page.goto("/errors/")
    page.get_by_text("came back after it was resolved").wait_for()


def test_keys_go_to_every_page_and_are_explained(open_page):
    page = open_page()
    page.goto("/")
    for key, place in {"j": "/jobs/", "q": "/queue/", "s": "/statistics/", "e": "/errors/", "w": "/workers/", "o": "/"}.items():
        page.keyboard.press("g")
        page.keyboard.press(key)
        page.wait_for_url(lambda address, place=place: urlsplit(address).path == place)
        page.wait_for_load_state()
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.wait_for_url("**/jobs/**")


def test_the_look_is_chosen_and_kept(open_page):
    page = open_page(color_scheme="light")
    page.goto("/")
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate("document.documentElement.dataset.bsTheme") == "dark"
    page.goto("/queue/")
    assert page.evaluate("document.documentElement.dataset.bsTheme") == "dark"
    assert page.get_by_role("button", name="Dark").get_attribute("aria-pressed") == "true"


def test_every_page_is_useful_without_javascript(open_page):
    page = open_page(java_script_enabled=False)
    for name, address in PAGES.items():
        page.goto(address)
        assert page.locator("h1").is_visible(), name
    page.goto("/")
    assert page.locator(".plot").first.is_hidden()
    page.locator("details.table summary").first.click()
    page.goto("/queue/")
    page.get_by_role("textbox", name="Retries", exact=True).fill("4")
    page.get_by_role("button", name="Change").click()
    assert page.get_by_text("holds from now on").is_visible()


@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize("width", [1360, 360])
def test_pages_have_no_accessibility_fault_hold_hostile_text_and_are_kept_as_pictures(open_page, look, width):
    axe = (ROOT / "node_modules" / "axe-core" / "axe.min.js").read_text()
    ARTIFACTS.mkdir(exist_ok=True)
    page = open_page(color_scheme=look, viewport={"width": width, "height": 900}, bypass_csp=True, reduced_motion="reduce")
    for name, address in PAGES.items():
        page.goto(address)
        if address == "/":
            page.wait_for_selector(".plot canvas")
        page.screenshot(path=ARTIFACTS / f"{name}-{look}-{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{name} is wider than {width}"
        assert page.evaluate("window.hacked") is None
        page.add_script_tag(content=axe)
        found = page.evaluate("axe.run().then(r => r.violations.map(v => v.id + ': ' + v.nodes[0].html.slice(0, 300)))")
        assert not found, (name, look, width, found)
