"""The pages operators work with, in a real Chromium: charts, gauges, failures, workers, keys, the look."""

import re
from urllib.parse import urlsplit

import pytest

from benchmarks.stack import wait_until
from tests.browser.tools import EVIL

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def test_charts_are_drawn_under_the_strict_policy_and_follow_what_happens(page, submit):
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
    page.evaluate("window.neverReloaded = true")
    submit("bench.noop", 5)
    wait_until("the chart follows", lambda: int(key.inner_text()) >= before + 5)
    assert page.evaluate("window.neverReloaded")


def test_the_range_is_in_the_address_and_every_chart_has_its_table(page):
    page.goto("/")
    page.get_by_role("link", name="Week").click()
    page.wait_for_url("**/?range=week")
    assert page.locator("nav.tabs [aria-current]").inner_text() == "Week"
    page.locator("details.table summary").first.click()
    assert page.get_by_role("columnheader", name="completed").is_visible()


def test_running_jobs_move_on_the_overview_without_reload(page):
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


def test_a_group_that_is_limited_says_so_in_the_line(open_page, submit, stack):
    page = open_page()
    page.goto("/queue/")
    form = page.locator("form[action='/queue/limit/']")
    form.locator("select").select_option("tool")
    form.get_by_label("Name").fill("bench.nap")
    form.get_by_label("At once").fill("0")
    form.get_by_role("button", name="Set").click()
    page.locator("#rules").get_by_text("At most 0 at once").wait_for()
    submit("bench.nap", id="napper", seconds=0)
    line = page.locator("#line")
    wait_until("it stands in line with its reason", lambda: "0 of 0 allowed are running" in line.inner_text())
    form.locator("select").select_option("tool")
    form.get_by_label("Name").fill("bench.nap")
    form.get_by_role("button", name="Set").click()
    wait_until("it ran", lambda: stack.one("SELECT status FROM jobs_job WHERE id = 'napper'") == "completed")


def test_a_wrong_setting_is_told_at_its_field_and_a_right_one_holds(page, stack):
    page.goto("/queue/")
    page.get_by_role("textbox", name="Longest delay").fill("-4")
    page.get_by_role("button", name="Change").click()
    page.wait_for_selector("[aria-invalid=true]")
    assert "whole number" in page.locator("#id_max_delay_ms-wrong").inner_text()
    page.get_by_role("textbox", name="Longest delay").fill("200000")
    page.get_by_role("button", name="Change").click()
    page.get_by_text("holds from now on").wait_for()
    assert stack.one("SELECT max_delay_ms FROM jobs_queueconfig") == 200_000


def test_a_worker_is_drained_and_taken_back_by_keyboard_alone(page, stack):
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


def test_failures_that_are_alike_are_resolved_as_one_and_open_again_with_the_next(page, submit, stack):
    submit("browser.once", 2, path="/nowhere/at/all")
    wait_until(
        "both failed",
        lambda: stack.one("SELECT count(*) = 2 FROM jobs_job WHERE params->>'path' = '/nowhere/at/all' AND status = 'failed'"),
    )
    ours = page.locator(".failure", has=page.get_by_text("/nowhere/at/all"))
    page.goto("/errors/")
    assert page.get_by_text(EVIL).first.is_visible()
    ours.get_by_role("button", name="Resolved").click()
    page.wait_for_load_state()
    assert ours.count() == 0
    page.get_by_role("link", name=re.compile("^Resolved")).click()
    ours.get_by_role("button", name="Retry 2").click()
    page.get_by_text("2 jobs are pending again.").wait_for()
    again = "SELECT count(*) = 4 FROM jobs_attempt WHERE error_message LIKE '%%/nowhere/at/all%%'"
    wait_until("they failed again", lambda: stack.one(again))
    page.goto("/errors/")
    ours.get_by_text("came back after it was resolved").wait_for()
    ours.get_by_role("button", name="Mute").click()
    page.wait_for_load_state()
    assert ours.count() == 0
    page.get_by_role("link", name=re.compile("^Muted")).click()
    ours.get_by_role("button", name="Unmute").wait_for()


def test_statistics_compare_tools_and_lead_to_their_jobs(page):
    page.goto("/statistics/?period=hour")
    row = page.locator("tbody tr", has=page.get_by_role("link", name="bench.noop"))
    assert int(row.locator("td").first.inner_text().split()[0]) >= 12
    page.get_by_role("link", name="Operation").click()
    page.wait_for_url("**by=operation**")
    page.get_by_role("link", name="Tool", exact=True).click()
    page.get_by_role("link", name="bench.noop").first.click()
    page.wait_for_url("**/jobs/?tool=bench.noop")


def test_the_icon_of_the_tab_shows_that_jobs_failed(page, submit):
    page.goto("/")
    icon = page.locator("link[rel=icon]")
    before = icon.get_attribute("href")
    assert before.startswith("data:image/svg+xml")
    page.goto("/jobs/?q=tool:bench.noop")
    page.wait_for_selector(".live[data-live=on]")
    submit("bench.fail", text="for the icon")
    wait_until("the icon counts", lambda: icon.get_attribute("href") != before or "9%2B" in before)


def test_keys_go_to_every_page_and_are_explained(page):
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
