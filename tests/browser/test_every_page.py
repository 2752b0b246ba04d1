"""What holds for every page: hostile text stays text, no accessibility fault in either look, a phone is wide enough."""

import pytest

from benchmarks.stack import ROOT
from tests.browser.conftest import ARTIFACTS
from tests.browser.tools import EVIL

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

PAGES = {
    "overview": "/",
    "jobs": "/jobs/",
    "jobs-searched": "/jobs/?q=status:failed",
    "jobs-fault": "/jobs/?q=colour:red",
    "jobs-none": "/jobs/?q=tool:nothing",
    "job-pending": "/jobs/waits/",
    "job-running": "/jobs/runs/",
    "job-completed": "/jobs/hostile/",
    "job-failed": "/jobs/broken/",
    "job-cancelled": "/jobs/stopped/",
    "job-asking": "/jobs/asks/",
    "workflow": f"/workflows/batch/?name={EVIL.replace('=', '%3D')}",
    "queue": "/queue/",
    "errors": "/errors/",
    "errors-muted": "/errors/?state=muted",
    "statistics": "/statistics/?period=hour",
    "workers": "/workers/",
    "tokens": "/tokens/",
    "audit": "/audit/",
    "submit": "/submit/?tool=browser.steps",
    "submit-json": "/submit/?tool=browser.steps&as=json",
    "bulk": "/jobs/bulk/?action=retry&all=1&q=status:failed",
    "bulk-delete": "/jobs/bulk/?action=delete&all=1&q=status:failed",
    "not-found": "/nothing/",
}
STRANGERS = {"sign-in": "/sign-in/"}
VIEWERS = {"not-allowed": "/tokens/", "viewer-job": "/jobs/runs/", "viewer-queue": "/queue/"}
# Django's own pages: kept as pictures and held against the policy; their markup is not ours.
ADMIN = {"admin": "/admin/", "admin-jobs": "/admin/jobs/job/", "admin-health": "/admin/jobs/worker/health/"}
EXPECTED = ("status of 422", "status of 404", "status of 403")
AXE = (ROOT / "node_modules" / "axe-core" / "axe.min.js").read_text()
FAULTS = "() => axe.run().then(r => r.violations.map(v => v.id + ': ' + v.nodes[0].html.slice(0, 300)))"
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 360, "height": 800}
FITS = "() => document.documentElement.scrollWidth <= window.innerWidth"


def looked_at(page, name, address, *, ours=True):
    """Every look and width of one page, each kept as a picture."""
    ARTIFACTS.mkdir(exist_ok=True)
    page.goto(address)
    if page.locator("[data-charts]").count():
        page.wait_for_selector(".plot canvas")
    for look in ("light", "dark"):
        page.emulate_media(color_scheme=look, reduced_motion="reduce")
        for width, size in ((1440, WIDE), (360, PHONE)):
            page.set_viewport_size(size)
            page.screenshot(path=ARTIFACTS / f"{name}-{look}-{width}.png", full_page=True)
            if not ours:
                continue
            assert page.evaluate(FITS), f"{name} is wider than {width}"
            assert page.evaluate("window.hacked") is None
            if (look, width) != ("dark", 360):
                page.evaluate(AXE)
                assert not (found := page.evaluate(FAULTS)), (name, look, width, found)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_holds_in_both_looks_and_on_a_phone(open_page, name):
    looked_at(open_page(expecting=EXPECTED), name, PAGES[name])


def test_the_door_holds(open_page):
    page = open_page(storage_state=None)
    for name, address in STRANGERS.items():
        looked_at(page, name, address)


def test_who_may_only_look_finds_no_button_for_more(open_page, only_looks):
    page = open_page(storage_state=only_looks, expecting=EXPECTED)
    for name, address in VIEWERS.items():
        looked_at(page, name, address)
    for address in ("/", "/jobs/", "/jobs/runs/", "/jobs/asks/", "/queue/", "/errors/", "/workers/"):
        page.goto(address)
        # Signing out, and dropping a view of one's own, is all that is left to press.
        forms = page.locator("main form:not([method=get]):not([action*='/views/'])")
        assert forms.count() == 0, address
        assert page.get_by_role("link", name="Submit a job").count() == 0
        assert page.locator("nav").get_by_role("link", name="Tokens").count() == 0


@pytest.mark.parametrize("name", ADMIN)
def test_the_admin_works_under_the_same_policy(open_page, name):
    looked_at(open_page(), name, ADMIN[name], ours=False)


def test_every_page_is_useful_without_javascript(open_page):
    page = open_page(java_script_enabled=False, expecting=EXPECTED)
    for name, address in PAGES.items():
        page.goto(address)
        assert page.locator("h1").is_visible(), name
        assert page.locator("main").inner_text().strip() != "", name
    page.goto("/")
    assert page.locator(".plot").first.is_hidden()
    page.locator("details.table summary").first.click()
    assert page.get_by_role("columnheader", name="completed").is_visible()
    page.goto("/submit/?tool=browser.steps")
    page.get_by_label("count").fill("1")
    page.get_by_role("button", name="Submit", exact=True).click()
    assert page.locator("[data-badge]").inner_text() in {"pending", "running", "completed"}
    page.goto("/jobs/?q=status:failed")
    page.locator("input[name=id]").first.check()
    page.get_by_role("button", name="Priority").click()
    assert page.get_by_role("heading", level=1).inner_text() == "Change the priority of 0 jobs"
    page.goto("/queue/")
    page.get_by_role("textbox", name="Retries", exact=True).fill("4")
    page.get_by_role("button", name="Change").click()
    assert page.get_by_text("holds from now on").is_visible()


def test_every_control_can_be_reached_and_seen_by_the_tab_key(open_page):
    page = open_page(viewport=WIDE)
    for address in ("/jobs/?q=status:failed", "/jobs/broken/", "/queue/", "/errors/", "/tokens/", "/submit/?tool=browser.steps"):
        page.goto(address)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        reached = page.evaluate(
            """() => [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary')]
                .filter((one) => one.checkVisibility({visibilityProperty: true}) && !one.disabled && one.tabIndex < 0)
                .map((one) => one.outerHTML.slice(0, 100))"""
        )
        assert not reached, (address, reached)
        for _ in range(25):
            page.keyboard.press("Tab")
            seen = page.evaluate(
                """() => {
                    const one = document.activeElement;
                    const style = getComputedStyle(one);
                    return one === document.body || style.outlineStyle !== 'none' || style.boxShadow !== 'none';
                }"""
            )
            assert seen, (address, page.evaluate("document.activeElement.outerHTML.slice(0, 200)"))
