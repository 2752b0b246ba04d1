"""A page outlives the web process it came from."""

import os
import signal

import pytest

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def test_a_page_says_so_when_the_web_process_is_killed_and_catches_up_when_another_is_there(open_page, stack):
    page = open_page(expecting=("WebSocket", "ERR_CONNECTION", "Failed to load resource"))
    page.goto("/jobs/")
    page.wait_for_selector(".live[data-live=on]")
    page.evaluate("window.neverReloaded = true")
    web = stack.processes.pop("web")
    os.kill(web.pid, signal.SIGKILL)
    web.wait()
    page.wait_for_selector(".live[data-live=waiting]")
    assert page.locator("[data-live-text]").inner_text() == "reconnecting"
    hand_in = "from jobs import lifecycle; lifecycle.submit(lifecycle.Submission(tool='bench.noop', id='meanwhile'), by='t')"
    stack.manage("shell", "-v", "0", "-c", hand_in)
    stack.start_web()
    page.wait_for_selector(".live[data-live=on]", timeout=30_000)
    page.wait_for_selector("tr[data-job=meanwhile]", timeout=20_000)
    assert page.evaluate("window.neverReloaded")
