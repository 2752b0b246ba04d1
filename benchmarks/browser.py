"""A real Chromium in front of a stack, signed in. Used by tests too."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from benchmarks.stack import Stack

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
NAME, PASSWORD = "ada", "a-long-password-42"


def add_person(stack: Stack) -> None:
    """An administrator with a known name and password."""
    create = f"from django.contrib.auth.models import User; User.objects.create_superuser('{NAME}', password='{PASSWORD}')"
    stack.manage("shell", "-c", create)


@contextmanager
def chromium() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  (starts a process; not for a run without chromium)

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


def sign_in(page: Page, path: str = "/jobs/", *, name: str = NAME, password: str = PASSWORD) -> None:
    """Open `path`, sign in where it asks to, and wait until the page is live."""
    page.goto(path)
    page.fill("#id_username", name)
    page.fill("#id_password", password)
    page.click("button[type=submit]")
    page.wait_for_selector(".live[data-live=on]")
