"""A page outlives the web process it came from."""

import itertools
import json
import os
import signal

import pytest

from benchmarks.stack import wait_until

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

# Every wait before another try, in ms, and every socket of the page.
WAITS = """
window.waits = []; window.sockets = [];
const later = window.setTimeout;
window.setTimeout = (call, wait, ...more) => {
    const again = call instanceof Function && call.name === "open";
    if (again) window.waits.push(wait);
    return later(call, again && window.hurry ? 1 : wait, ...more);
};
window.WebSocket = class extends WebSocket { constructor(...how) { super(...how); window.sockets.push(this); } };
"""


def kill_web(stack):
    web = stack.processes.pop("web")
    os.kill(web.pid, signal.SIGKILL)
    web.wait()


def test_a_page_says_so_when_the_web_process_is_killed_and_catches_up_when_another_is_there(open_page, stack):
    page = open_page(expecting=("WebSocket", "ERR_CONNECTION", "Failed to load resource"))
    page.goto("/jobs/")
    page.wait_for_selector(".live[data-live=on]")
    page.evaluate("window.neverReloaded = true")
    kill_web(stack)
    page.wait_for_selector(".live[data-live=waiting]")
    assert page.locator("[data-live-text]").inner_text() == "reconnecting"
    hand_in = "from jobs import lifecycle; lifecycle.submit(lifecycle.Submission(tool='bench.noop', id='meanwhile'), by='t')"
    stack.manage("shell", "-v", "0", "-c", hand_in)
    stack.start_web()
    page.wait_for_selector(".live[data-live=on]", timeout=30_000)
    page.wait_for_selector("tr[data-job=meanwhile]", timeout=20_000)
    assert page.evaluate("window.neverReloaded")


def test_a_page_that_missed_a_frame_asks_for_the_whole_state_and_shows_it(page, submit):
    """A frame is taken out on its way: what it told is on the page all the same, and the page asked for it."""
    asked, told = [], []
    dropping = {"left": 0}

    def between(socket):
        server = socket.connect_to_server()

        def up(text):
            if json.loads(text)["t"] == "hello":
                asked.append(len(told))
            server.send(text)

        def down(text):
            message = json.loads(text)
            if message["t"] == "frame" and dropping["left"] and any(job["id"] == "missed" for job in message["jobs"]):
                dropping["left"] -= 1
                return
            told.append(message)
            socket.send(text)

        socket.on_message(up)
        server.on_message(down)

    page.route_web_socket("**/live/", between)
    submit("browser.steps", id="missed", count=400, pause=0.05)
    page.goto("/jobs/")
    page.wait_for_selector("tr[data-job=missed][data-status=running]")
    hellos = len(asked)
    dropping["left"] = 1
    wait_until("the page asks anew", lambda: (page.wait_for_timeout(50), len(asked) > hellos)[1])
    numbers = [message["n"] for message in told[: asked[-1]]]
    assert any(later == earlier + 2 for earlier, later in itertools.pairwise(numbers)), numbers

    def answers():
        return [message for message in told[asked[-1] :] if message["t"] == "snapshot"]

    wait_until("it is answered", lambda: (page.wait_for_timeout(50), answers())[1])
    assert "missed" in {job["id"] for job in answers()[0]["jobs"]}
    # Once: what follows the answer is numbered from there.
    assert len(asked) == hellos + 1
    page.goto("/jobs/missed/")
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_selector(".head[data-status=cancelled]", timeout=20_000)


def test_pages_that_lost_their_socket_do_not_all_come_back_at_the_same_moment(open_page):
    """The first wait is half a second, give or take a half of it; each page throws its own dice."""
    waits = []
    for _ in range(6):
        page = open_page()
        page.add_init_script(WAITS)
        page.goto("/workers/")
        page.wait_for_selector(".live[data-live=on]")
        page.evaluate("window.sockets.at(-1).close()")
        wait_until("it opens another", lambda page=page: page.evaluate("window.sockets.length > 1"))
        page.wait_for_selector(".live[data-live=on]")
        waits.append(page.evaluate("window.waits[0]"))
    assert all(250 <= wait <= 750 for wait in waits), waits
    assert len({round(wait) for wait in waits}) >= 4, waits


def test_a_page_that_finds_nobody_waits_longer_each_time_and_a_quarter_of_a_minute_at_most(open_page, stack):
    page = open_page(expecting=("WebSocket", "ERR_CONNECTION", "Failed to load resource"))
    page.add_init_script(WAITS)
    # Only what it would have waited counts.
    page.add_init_script("window.hurry = true")
    page.goto("/workers/")
    page.wait_for_selector(".live[data-live=on]")
    kill_web(stack)
    try:
        wait_until("it has tried a dozen times", lambda: page.evaluate("window.waits.length >= 12"))
        waits = page.evaluate("window.waits.slice(0, 12)")
    finally:
        stack.start_web()
    page.wait_for_selector(".live[data-live=on]")
    assert waits[0] <= 750
    assert all(5_000 <= wait <= 15_000 for wait in waits[-4:]), waits


def test_a_page_that_nobody_sees_goes_quiet_and_catches_up_when_it_is_seen_again(page, submit):
    page.clock.install()
    sockets = []
    page.on("websocket", lambda socket: (sockets.append(socket), socket.on("close", lambda _: sockets.remove(socket))))
    page.goto("/jobs/")
    page.wait_for_selector(".live[data-live=on]")
    page.evaluate(HIDE, arg=True)
    page.clock.run_for(29_000)
    assert len(sockets) == 1
    page.clock.run_for(2_000)
    wait_until("its socket is closed", lambda: (page.wait_for_timeout(50), not sockets)[1])
    submit("bench.noop", id="while-hidden")
    page.evaluate(HIDE, arg=False)
    page.wait_for_selector("tr[data-job=while-hidden]")
    assert len(sockets) == 1


# Headless, every tab is in front: the page is told what it would be told.
HIDE = """hidden => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""
