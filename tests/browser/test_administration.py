"""Tokens and the audit log in a real Chromium."""

import pytest

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def test_a_token_is_shown_once_works_and_is_revoked(page):
    page.goto("/tokens/")
    page.get_by_label("Name", exact=True).fill("browser")
    page.get_by_role("button", name="Make it").click()
    secret = page.locator(".secret-text").inner_text()
    sent = {"Authorization": f"Bearer {secret}"}
    # A context without the cookies of the page: the token alone opens the door.
    fresh = page.context.browser.new_context(base_url=page.url.split("/tokens")[0])
    assert fresh.request.get("/api/v1/jobs", headers=sent).status == 200
    page.goto("/tokens/")
    assert secret not in page.content()
    page.locator("tr", has=page.get_by_text("browser", exact=True)).get_by_role("button", name="Revoke").click()
    page.get_by_text("Token browser is revoked").wait_for()
    assert fresh.request.get("/api/v1/jobs", headers=sent).status == 401
    fresh.close()


def test_what_was_done_is_found_in_the_audit_log_with_before_and_after(page, submit):
    submit("bench.noop", id="noted", depends_on=["runs"])
    page.goto("/jobs/noted/")
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_selector(".head[data-status=cancelled]")
    page.goto("/audit/")
    page.get_by_label("To what").fill("job noted")
    page.get_by_role("button", name="Filter").click()
    row = page.locator("table.audit tbody tr")
    assert row.count() == 1
    assert row.locator("td").all_inner_texts()[1:4] == ["ada", "cancel", "noted"]
    assert "127.0.0.1" in row.inner_text()
    row.get_by_role("link", name="noted").click()
    page.wait_for_url("**/jobs/noted/")
