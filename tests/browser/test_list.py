"""The list of jobs in a real Chromium: found, kept, chosen, acted on, and live all the while."""

import re

import pytest

from benchmarks.stack import wait_until

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def test_a_new_job_appears_in_the_open_list_and_moves_there(page, submit):
    page.goto("/jobs/")
    page.wait_for_selector(".live[data-live=on]")
    page.evaluate("window.neverReloaded = true")
    submit("browser.steps", id="fresh", count=20, pause=0.05)
    page.wait_for_selector("tr[data-job=fresh]")
    page.wait_for_selector("tr[data-job=fresh][data-status=completed]", timeout=20_000)
    assert page.evaluate("window.neverReloaded")


def test_the_counts_in_the_rail_follow_what_happens(page, submit):
    page.goto("/jobs/")
    page.wait_for_selector(".live[data-live=on]")
    completed = page.locator("[data-count=completed]")
    before = int(completed.inner_text())
    submit("bench.noop", 3)
    wait_until("the rail counts them", lambda: int(completed.inner_text()) >= before + 3)


def test_nothing_moves_under_a_hand_and_what_came_waits_behind_a_pill(page, submit):
    page.goto("/jobs/")
    page.wait_for_selector(".live[data-live=on]")
    first = page.locator("tr[data-job]").first
    first.get_by_role("checkbox").check()
    at = first.get_attribute("data-job")
    submit("bench.noop", id="patient")
    page.get_by_role("button", name="1 new").wait_for()
    assert page.locator("tr[data-job]").first.get_attribute("data-job") == at
    page.get_by_role("button", name="1 new").click()
    page.wait_for_selector("tr[data-job=patient]")
    assert page.locator("tr[data-job]").first.get_attribute("data-job") == "patient"


def test_a_pause_really_pauses(page, submit):
    page.goto("/jobs/")
    page.wait_for_selector(".live[data-live=on]")
    page.keyboard.press("p")
    page.wait_for_selector(".live[data-live=paused]")
    submit("bench.noop", id="unseen")
    submit("bench.noop", id="unseen-too")
    assert page.locator("tr[data-job=unseen]").count() == 0
    page.keyboard.press("p")
    page.wait_for_selector("tr[data-job=unseen]")


def test_a_search_is_completed_kept_under_a_name_and_dropped(page):
    page.goto("/jobs/")
    page.keyboard.press("/")
    page.keyboard.type("sta")
    page.get_by_role("option", name="status:").wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.get_by_role("option", name="failed").wait_for()
    page.keyboard.type("fa")
    wait_until("one is left", lambda: (page.get_by_role("option").all_inner_texts() or [""])[0].startswith("failed"))
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator("#q").input_value().strip() == "status:failed"
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/?q=status*")
    assert set(page.locator("tr[data-job]").evaluate_all("rows => rows.map(row => row.dataset.status)")) == {"failed"}
    page.get_by_text("Keep this view").click()
    page.get_by_label("Name of the view").fill("what failed")
    page.get_by_role("button", name="Keep", exact=True).click()
    page.get_by_role("link", name="what failed").wait_for()
    page.goto("/jobs/")
    page.get_by_role("link", name="what failed").click()
    page.wait_for_url("**/jobs/?q=status*")
    page.get_by_role("button", name="Drop the view what failed").click()
    page.wait_for_url(re.compile("/jobs/$"))
    assert page.get_by_role("link", name="what failed").count() == 0


def test_rows_are_walked_and_chosen_by_keys_and_the_chosen_ones_acted_on_as_a_job_of_its_own(page, submit, stack):
    submit("bench.fail", 2, batch="by-keys", text="by keys")
    failed = "SELECT count(*) = 2 FROM jobs_job WHERE batch = 'by-keys' AND status = 'failed'"
    wait_until("both failed", lambda: stack.one(failed))
    page.goto("/jobs/?batch=by-keys")
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("x")
    assert page.locator("[data-selected]").inner_text() == "2 selected"
    page.keyboard.press("r")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/bulk/**")
    assert page.get_by_role("heading", level=1).inner_text() == "Retry 2 jobs"
    page.get_by_role("button", name="Retry 2").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/jobs/jobs\.bulk"))
    page.wait_for_selector(".head[data-status=completed]", timeout=20_000)
    again = "SELECT count(*) = 4 FROM jobs_attempt a JOIN jobs_job j ON j.id = a.job_id WHERE j.batch = 'by-keys'"
    wait_until("they were tried again", lambda: stack.one(again))


def test_jobs_are_deleted_after_a_preview(page, submit, stack):
    submit("bench.noop", 3, batch="to-go")
    wait_until("they ran", lambda: stack.one("SELECT count(*) = 3 FROM jobs_job WHERE batch = 'to-go' AND status = 'completed'"))
    page.goto("/jobs/?batch=to-go")
    page.get_by_label("all that match").check()
    page.get_by_role("button", name="Delete").click()
    page.get_by_text("gone for good").wait_for()
    page.get_by_role("button", name="Delete 3").click()
    page.wait_for_selector(".head[data-status=completed]", timeout=20_000)
    assert stack.one("SELECT count(*) FROM jobs_job WHERE batch = 'to-go'") == 0


def test_what_is_shown_is_exported(page, submit, stack):
    submit("bench.noop", 2, batch="to-read")
    page.goto("/jobs/?batch=to-read")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    lines = download.value.path().read_text().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("id,tool,status")


def test_an_empty_list_says_what_to_do_next(page):
    page.goto("/jobs/?q=batch:nothing-of-the-kind")
    assert page.get_by_text("No job matches.").is_visible()
    page.locator(".empty").get_by_role("link", name="Show all").click()
    page.wait_for_url(re.compile("/jobs/$"))
