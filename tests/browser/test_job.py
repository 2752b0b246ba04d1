"""A job's page in a real Chromium: submitted, watched, stopped, tried again, answered."""

import re

import pytest

from benchmarks.stack import wait_until

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


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
    page.goto("/submit/?tool=codemap")
    page.get_by_label("package").fill("django")
    page.get_by_role("button", name="Submit", exact=True).click()
    page.wait_for_url(re.compile(r"/jobs/codemap.+/"))
    watch_the_bar(page)
    page.wait_for_selector(".head[data-status=completed]", timeout=60_000)
    page.wait_for_selector(".json :text('internal_edges')", state="attached")
    values = [value for value in page.evaluate("window.seen") if value is not None]
    assert page.evaluate("window.neverReloaded")
    assert values == sorted(values)
    assert len(set(values)) >= 5
    assert values[-1] == 100


def test_a_running_job_is_cancelled_and_tried_again_from_its_page(page, submit):
    submit("browser.steps", id="steered", count=600, pause=0.05)
    page.goto("/jobs/steered/")
    page.wait_for_selector(".head[data-status=running]")
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_selector(".head[data-status=cancelled]", timeout=20_000)
    page.get_by_role("button", name="Retry").click()
    page.wait_for_selector(".head[data-status=running]")
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_selector(".head[data-status=cancelled]", timeout=20_000)
    assert page.get_by_role("button", name="Cancel").count() == 0


def test_a_job_is_cancelled_and_tried_again_by_keys_alone(page, submit):
    submit("browser.steps", id="by-keys", count=600, pause=0.05)
    page.goto("/jobs/by-keys/")
    page.wait_for_selector(".head[data-status=running]")
    page.get_by_role("button", name="Cancel").wait_for()
    page.keyboard.press("c")
    page.keyboard.press("Enter")
    page.wait_for_selector(".head[data-status=cancelled]", timeout=20_000)
    page.get_by_role("button", name="Retry", exact=True).wait_for()
    page.keyboard.press("r")
    page.keyboard.press("Enter")
    page.wait_for_selector(".head[data-status=running]")
    page.keyboard.press("c")
    page.keyboard.press("Enter")
    page.wait_for_selector(".head[data-status=cancelled]", timeout=20_000)


def test_stage_and_sub_progress_move_and_lines_are_filtered_while_they_come(page, submit):
    submit("browser.steps", id="lines", count=100, pause=0.1)
    page.goto("/jobs/lines/")
    page.wait_for_selector(".head [data-sub]:text-matches('[1-9]')")
    assert page.locator(".head [data-stage]").inner_text() == "walk"
    page.locator("[data-log-filter]").fill("line 7")

    def shown():
        return page.locator("[data-log] li:visible").all_inner_texts()

    wait_until("only such lines are shown", lambda: shown() and all(line.startswith("line 7") for line in shown()))
    page.locator("[data-log-filter]").fill("")
    wait_until("all lines are shown again", lambda: page.locator("[data-log] li:visible").count() >= 8)
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_selector(".head[data-status=cancelled]", timeout=20_000)


def test_what_waits_says_why_with_links_and_the_graph_shows_its_neighbours(page):
    page.goto("/jobs/waits/")
    why = page.locator(".why")
    assert "waits for 1 job to complete" in why.inner_text()
    assert page.locator(".near [data-node]").evaluate_all("nodes => nodes.map(n => n.dataset.node)") == ["runs", "waits"]
    why.get_by_role("link", name="runs").click()
    page.wait_for_url("**/jobs/runs/")
    # What follows a job is drawn there in the colour of now, too.
    page.wait_for_selector(".near .s-running[data-node=runs]")


def test_the_page_of_a_job_that_waits_follows_what_it_waits_for_and_asks_nothing_while_nothing_moves(page, submit):
    submit("browser.steps", id="first", count=30, pause=0.1)
    submit("bench.noop", id="second", depends_on=["first", "runs"])
    asked = []
    page.clock.install()
    page.on("request", lambda request: asked.append(request.url))
    page.goto("/jobs/second/")
    page.wait_for_selector(".live[data-live=on]")
    page.wait_for_selector(".near .s-completed[data-node=first]", timeout=20_000)
    page.get_by_text("It waits for 1 job to complete.").wait_for()
    assert page.locator(".why [data-beside]").evaluate_all("all => all.map((one) => one.dataset.beside)") == ["runs"]
    # What followed from the last move is asked for.
    page.clock.run_for(10_000)
    page.evaluate("fetch('/healthz')")
    asked.clear()
    # "runs" reports all the while; every clock of the page runs for a minute, and nothing is asked for.
    page.clock.run_for(60_000)
    page.evaluate("fetch('/healthz')")
    assert [address.rpartition("/")[2] for address in asked] == ["healthz"]


def test_what_is_typed_into_the_limits_stays_and_they_are_changed_on_the_page(page, submit, stack):
    submit("bench.noop", id="limited", depends_on=["runs"])
    page.clock.install()
    page.goto("/jobs/limited/")
    page.wait_for_selector(".live[data-live=on]")
    version = page.locator(".head").get_attribute("data-v")
    page.get_by_text("Change its limits").click()
    page.get_by_label("Time-out (ms)").fill("0")
    page.locator("h1").click()
    stack.manage("shell", "-v", "0", "-c", "from jobs import lifecycle; lifecycle.pause('limited', by='t', reason='a moment')")
    wait_until("the page hears of it", lambda: page.locator(".head").get_attribute("data-v") != version)
    page.clock.run_for(5_000)
    assert page.get_by_label("Time-out (ms)").input_value() == "0"
    page.get_by_role("button", name="Change", exact=True).click()
    page.get_by_text("Must be from 1 to").wait_for()
    page.get_by_label("Time-out (ms)").fill("60000")
    page.get_by_role("button", name="Change", exact=True).click()
    page.get_by_text("Its limits are changed.").wait_for()
    assert stack.one("SELECT timeout_ms FROM jobs_job WHERE id = 'limited'") == 60_000


def test_an_error_stands_first_and_the_job_is_tried_again_with_other_params(page, submit, tmp_path, stack):
    missing, there = tmp_path / "missing", tmp_path / "there"
    there.touch()
    submit("browser.once", id="mended", path=str(missing))
    page.goto("/jobs/mended/")
    page.wait_for_selector(".card.error")
    assert "FileNotFoundError" in page.locator(".card.error").inner_text()
    page.get_by_role("link", name="Retry with changed params").click()
    page.get_by_label("path").fill(str(there))
    page.get_by_role("button", name="Retry with these params").click()
    page.wait_for_selector(".head[data-status=completed]", timeout=20_000)
    assert stack.one("SELECT attempt_count FROM jobs_job WHERE id = 'mended'") == 2


def test_a_job_that_asks_is_answered_on_its_page_and_goes_on(page, submit):
    submit("browser.asks", id="curious")
    page.goto("/jobs/curious/")
    page.locator(".asks").wait_for()
    page.get_by_role("textbox", name="name").fill("Anna")
    page.get_by_role("checkbox", name="sure").check()
    page.get_by_role("button", name="Answer").click()
    page.wait_for_selector(".head[data-status=completed]", timeout=20_000)
    page.wait_for_selector(".json :text('Anna: True')", state="attached")
    assert page.locator(".path-steps").get_by_text("waited for an answer").is_visible()


def test_params_are_copied(open_page):
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.goto("/jobs/runs/")
    page.locator("[data-copy-of=raw-params]").click()
    assert '"ticks": 40000' in page.evaluate("navigator.clipboard.readText()")
    page.locator("h1 .copy").click()
    assert page.evaluate("navigator.clipboard.readText()") == "runs"
