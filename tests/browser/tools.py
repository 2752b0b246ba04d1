"""Tools that the browser tests watch: one says hostile things wherever it may, one asks (JOBSITE_TOOLS=tests.browser.tools)."""

import time
from typing import Any

from pydantic import BaseModel, Field

from jobs.questions import Question
from jobs.retry import Retry
from jobs.tools import JobContext, tool

# Would run if it ever stood in a page as markup, and would widen a page that does not break it.
EVIL = "<img src=x onerror=window.hacked=1>" + "W" * 60


@tool("browser.hostile")
def hostile(job: JobContext) -> dict[str, Any]:
    """<img src=x onerror=window.hacked=1> in a description."""
    job.progress(40, EVIL, stage=EVIL, sub_progress=30)
    job.diagnostic(EVIL)
    job.metadata(**{EVIL: EVIL})
    return {EVIL: [EVIL, {EVIL: EVIL}]}


@tool("browser.steps")
def steps(job: JobContext, count: int = 10, pause: float = 0.1) -> int:
    """Walk, with a line for every step."""
    for step in range(count):
        job.progress(100 * step / count, f"step {step}", stage="walk", sub_progress=step)
        job.diagnostic(f"line {step}")
        time.sleep(pause)
    return count


class Consent(BaseModel):
    sure: bool = Field(description=EVIL)
    name: str


@tool("browser.asks", retry=Retry(max=0))
def asks(job: JobContext) -> str:
    """Ask before anything is done."""
    said = job.ask(consent=Question(EVIL, Consent))["consent"]
    return f"{said.name}: {said.sure}" if said else "nobody"


@tool("browser.once", retry=Retry(max=0))
def once(job: JobContext, path: str) -> None:
    """Fail until somebody made that file."""
    with open(path) as made:  # noqa: PTH123
        made.read()
