"""The rail of the job list: by what one may narrow it down, each choice a link."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from django.utils.translation import gettext as _

from jobs import tally, tools, workers
from jobs.search import Search, names_of
from jobs.sight import Sight
from jobs.states import Operation, Priority

MOST = 12


@dataclass(frozen=True, kw_only=True)
class Choice:
    """`number` is how many jobs there are of it; None where nobody counts."""

    name: str
    label: str
    address: str
    chosen: bool
    number: int | None = None


@dataclass(frozen=True, kw_only=True)
class Facet:
    title: str
    key: str
    choices: list[Choice]


def of(search: Search, sight: Sight, address: Callable[[Search], str]) -> list[Facet]:
    """A fixed few queries. Who sees some projects only is told no numbers, for they are of all jobs."""

    def facet(title: str, key: str, names: Iterable[tuple[str, str]], numbers: dict[str, int] | None = None) -> Facet:
        chosen = search.value(key)
        choices = [
            Choice(
                name=name,
                label=label,
                chosen=name == chosen,
                address=address(search.but(key, "" if name == chosen else name)),
                number=numbers.get(name, 0) if numbers is not None else None,
            )
            for name, label in names
        ]
        return Facet(title=title, key=key, choices=choices)

    numbers: Mapping[str, dict[str, int] | None] = tally.by_each() if sight.is_whole else dict.fromkeys(tally.EACH)
    largest = numbers["project"] or {}
    projects = sorted(largest, key=lambda name: -largest[name])[:MOST]
    seen = projects if sight.projects is None else sorted(sight.projects)[:MOST]
    known = [tool.name for tool in tools.every() if sight.covers_tool(tool.name)]
    used = numbers["tool"] or {}
    return [
        facet(_("Tool"), "tool", _named(sorted(known, key=lambda name: (-used.get(name, 0), name))[:MOST]), numbers["tool"]),
        facet(_("Operation"), "operation", Operation.choices, numbers["operation"]),
        facet(_("Priority"), "priority", reversed(Priority.choices), numbers["priority"]),
        facet(_("Project"), "project", _named(seen), numbers["project"]),
        facet(_("Batch"), "batch", _named(names_of("batch", most=MOST)) if sight.is_whole else []),
        facet(_("Worker"), "worker", _named(worker.name for worker in workers.alive()[:MOST])),
    ]


def _named(names: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, name) for name in names]
