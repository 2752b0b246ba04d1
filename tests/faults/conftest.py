"""The fault suite's own: run by `make faults-short`, `make faults`; left out of `make test`. Prints a table at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from benchmarks.stack import drop
from tests.faults.figures import Figures, load, now, told
from tests.faults.site import SHORT, TEMPLATE, Site

HERE = Path(__file__).parent
BEGAN = now()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What breaks real processes is marked; rules of the suite itself and the state machine run in `make test` too."""
    for item in items:
        if HERE in item.path.parents and "site" in getattr(item, "fixturenames", ()):
            item.add_marker("faults")


@pytest.fixture
def short() -> bool:
    """Is this the short form: fewer jobs, fewer rounds, the same faults?"""
    return SHORT


@pytest.fixture
def site() -> type[Site]:
    """`with site(...) as running:`; the name also marks the test as one of the fault suite."""
    return Site


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Iterator[Figures]:
    """The figures of this test. `with` is not needed: what was seen is kept whether the test passes or not."""
    marker = request.node.get_closest_marker("fault")
    assert marker is not None, "say which row of the matrix this is: @pytest.mark.fault(name, demanded)"
    figures = Figures(fault=marker.args[0], demanded=marker.args[1], test=test_of(request.node), short=SHORT)
    yield figures
    report = getattr(request.node, "called", None)
    figures.holds = bool(report and report.passed)
    figures.keep()


def test_of(item: pytest.Item) -> str:
    return f"{item.path.stem}::{item.originalname}"  # type: ignore[attr-defined]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.when == "call":
        item.called = report  # type: ignore[attr-defined]
    return report


def pytest_terminal_summary() -> None:
    rows = [kept for kept in load().values() if kept["at"] >= BEGAN]
    if not rows:
        return
    table = Table(title="faults", title_justify="left")
    for heading in ("fault", "demanded", "seen", ""):
        table.add_column(heading)
    for kept in rows:
        table.add_row(kept["fault"], kept["demanded"], told(kept["seen"]), "holds" if kept["holds"] else "MISSED")
    Console(width=160).print(table)


@pytest.fixture(scope="session", autouse=True)
def no_template_stays() -> Iterator[None]:
    yield
    drop(TEMPLATE)
