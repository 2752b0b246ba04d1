"""What was seen when something was broken: kept in artifacts/faults.json, and shown as a table at the end of a run.

`python -m tests.faults.figures` puts it into docs/guarantees.md: a row that was run anew is replaced, the others stay.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATH = ROOT / "artifacts" / "faults.json"
DOCS = ROOT / "docs" / "guarantees.md"
HEADING = "| fault | demanded | seen | form | test |"


@dataclass(kw_only=True)
class Figures:
    """One row of the matrix. `seen` holds what was measured, `demanded` what was asked for, in words."""

    fault: str
    demanded: str
    test: str
    seen: dict[str, Any] = field(default_factory=dict)
    holds: bool = False
    at: str = ""
    short: bool = False

    def keep(self) -> None:
        """Replaces what an earlier run saw; several processes of one run may write."""
        PATH.parent.mkdir(exist_ok=True)
        self.at = now()
        machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
        with PATH.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept = load() | {self.fault: asdict(self) | {"machine": machine}}
            PATH.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def load() -> dict[str, Any]:
    return json.loads(PATH.read_text()) if PATH.exists() else {}


def percentile(values: list[float], percent: float) -> float:
    """0 where there are no values; nearest rank."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))], 3) if ordered else 0.0


def told(seen: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in seen.items())


def documented(text: str) -> dict[str, str]:
    """The rows of the table in the docs, by fault."""
    lines = text[text.index(HEADING) :].split("\n\n", 1)[0].splitlines()[2:]
    return {line.split(" | ")[0].removeprefix("| "): line for line in lines}


def _line(row: dict[str, Any]) -> str:
    losses = "/".join(str(row["seen"][name]) for name in LOSSES if name in row["seen"])
    rest = {name: value for name, value in row["seen"].items() if name not in (*LOSSES, "jobs")}
    jobs = f"{losses} of {row['seen']['jobs']} jobs" if losses else ""
    seen = "; ".join(filter(None, [jobs, *(f"{name.replace('_', ' ')} {_short(value)}" for name, value in sorted(rest.items()))]))
    missed = "" if row["holds"] else "missed: "
    return f"| {row['fault']} | {row['demanded']} | {missed}{seen} | {'short' if row['short'] else 'whole'} | `{row['test']}` |"


def _short(value: object) -> object:
    return round(value, 2) if isinstance(value, float) else value


LOSSES = ("lost", "stuck", "twice")


def main() -> None:
    text = DOCS.read_text()
    rows = documented(text)
    old = "\n".join(rows.values())
    rows |= {fault: _line(row) for fault, row in load().items()}
    DOCS.write_text(text.replace(old, "\n".join(rows[fault] for fault in sorted(rows, key=str.lower))))


if __name__ == "__main__":
    main()
