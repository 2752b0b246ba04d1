"""What was seen when something was broken: kept in artifacts/faults.json, and shown as a table at the end of a run."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PATH = Path(__file__).parents[2] / "artifacts" / "faults.json"


@dataclass(kw_only=True)
class Figures:
    """One row of the matrix. `seen` holds what was measured, `demanded` what was asked for, in words."""

    fault: str
    demanded: str
    seen: dict[str, Any] = field(default_factory=dict)
    holds: bool = False
    at: str = ""
    short: bool = False

    def keep(self) -> None:
        """Replaces what an earlier run saw; a pytest process at a time writes here."""
        PATH.parent.mkdir(exist_ok=True)
        kept = load()
        self.at = datetime.now(UTC).isoformat(timespec="seconds")
        kept[self.fault] = asdict(self) | {
            "machine": f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
        }
        PATH.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")


def load() -> dict[str, Any]:
    return json.loads(PATH.read_text()) if PATH.exists() else {}


def percentile(values: list[float], percent: float) -> float:
    """0 where there are no values; nearest rank."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))], 3) if ordered else 0.0


def told(seen: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in seen.items())
