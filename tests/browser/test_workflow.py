"""A workflow's page in a real Chromium: its graph lives, is walked by keys and folded; what failed is tried again."""

import pytest

from benchmarks.stack import wait_until

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def status_of(page, job):
    return page.locator(f".graph [data-id='{job}']").get_attribute("class")


def test_the_graph_follows_its_jobs_without_reload(page, submit):
    submit("browser.steps", id="d-first", batch="diamond", count=15, pause=0.1)
    for middle in ("d-left", "d-right"):
        submit("bench.noop", id=middle, batch="diamond", depends_on=["d-first"])
    submit("bench.noop", id="d-last", batch="diamond", depends_on=["d-left", "d-right"])
    page.goto("/workflows/batch/?name=diamond")
    page.wait_for_selector(".graph [data-id=d-last]")
    page.evaluate("window.neverReloaded = true")
    wait_until("all is done", lambda: "s-completed" in status_of(page, "d-last"))
    assert page.locator("[data-whole-count=completed]").inner_text() == "4"
    assert page.locator("[data-whole-percent]").inner_text() == "100 %"
    assert page.evaluate("window.neverReloaded")
    page.reload()
    assert page.locator(".gantt rect").count() == 4


def test_the_graph_is_walked_zoomed_and_folded_by_keys(page, submit):
    submit("bench.noop", id="k-first", batch="keyed")
    for child in ("k-a", "k-b"):
        submit("bench.noop", id=child, batch="keyed", depends_on=["k-first"])
    page.goto("/workflows/batch/?name=keyed")
    page.wait_for_selector(".graph [data-id=k-b]")
    page.locator("[data-graph]").focus()
    page.keyboard.press("ArrowRight")
    assert "k-first" in page.locator("[data-graph-said]").inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator("[data-graph-said]").inner_text().split(":")[0] in {"k-a", "k-b"}
    place = page.locator(".graph svg > g")
    before = place.get_attribute("transform")
    page.keyboard.press("+")
    assert place.get_attribute("transform") != before
    page.keyboard.press("0")
    page.get_by_role("button", name="Fold stages").press("Enter")
    assert page.locator(".graph [data-id]").count() == 2
    page.get_by_role("button", name="Fold stages").press("Enter")
    assert page.locator(".graph [data-id]").count() == 3
    page.locator("[data-graph]").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/k-first/")


def test_the_failed_part_is_tried_again_and_the_rest_cancelled(page, submit, stack):
    submit("bench.fail", 2, batch="half", text="half of it")
    submit("browser.steps", id="h-long", batch="half", count=600, pause=0.1)
    wait_until("two failed", lambda: stack.one("SELECT count(*) = 2 FROM jobs_job WHERE batch = 'half' AND status = 'failed'"))
    page.goto("/workflows/batch/?name=half")
    page.get_by_role("button", name="Retry the 2 that failed").click()
    page.get_by_text("2 jobs are pending again").wait_for()
    page.get_by_role("button", name="Cancel all").click()
    page.get_by_text("are cancelled or asked to stop").wait_for()
    ended = "SELECT count(*) = 0 FROM jobs_job WHERE batch = 'half' AND finished_at IS NULL"
    wait_until("all has ended", lambda: stack.one(ended))
