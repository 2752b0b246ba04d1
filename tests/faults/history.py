"""What really happened, kept outside the database: one file that clients and tools append to.

Each line is one JSON object; one write of a short line to a file opened for appending is atomic, so any number of processes
may write. Times are seconds of the machine's monotonic clock, which all of its processes share.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

VARIABLE = "FAULTS_HISTORY"
Entry = dict[str, Any]


class History:
    """Submitters note `submitting`, `acknowledged`, `unknown`; tools `started` and `ended`; tests what they broke."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self._read, self._entries = 0, list[Entry]()

    @classmethod
    def of_environment(cls) -> History:
        return cls(Path(os.environ[VARIABLE]))

    def note(self, what: str, **fields: Any) -> None:
        line = json.dumps({"what": what, "at": time.monotonic(), **fields}) + "\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)

    def entries(self, *what: str) -> list[Entry]:
        self._read_on()
        return [entry for entry in self._entries if not what or entry["what"] in what]

    def _read_on(self) -> None:
        """What came since; a run of hours writes a million lines."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        self._entries += [json.loads(line) for line in whole.splitlines()]

    def count(self, what: str) -> int:
        return len(self.entries(what))
