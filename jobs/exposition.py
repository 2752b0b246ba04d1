"""The text format that Prometheus reads, version 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, kw_only=True)
class Family:
    """Figures of one name: `values` by the values of `labels`, in their order. Counters only grow, and end in `_total`."""

    name: str
    about: str
    kind: Literal["gauge", "counter"]
    labels: Sequence[str] = ()
    values: Mapping[tuple[str, ...], float] = field(default_factory=dict)


def exposed(families: Iterable[Family]) -> str:
    return "".join(f"{line}\n" for family in families for line in _lines(family))


def _lines(family: Family) -> Iterable[str]:
    yield f"# HELP {family.name} {_escaped(family.about)}"
    yield f"# TYPE {family.name} {family.kind}"
    for values, number in sorted(family.values.items()):
        named = ",".join(f'{name}="{_quoted(value)}"' for name, value in zip(family.labels, values, strict=True))
        yield f"{family.name}{{{named}}} {number!r}" if named else f"{family.name} {number!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
