"""Work that goes on beside the rounds of the dispatcher, each kind in a thread and on a connection of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from django.db import DatabaseError, InterfaceError, connection

log = logging.getLogger(__name__)

# After the database failed it is tried again after so many seconds.
AGAIN = 5.0


class Chore(threading.Thread):
    """Calls `work` over and over; it does a bounded part and returns the seconds until the next."""

    def __init__(self, name: str, work: Callable[[], float]) -> None:
        super().__init__(name=name, daemon=True)
        self.stopping = threading.Event()
        self._work = work

    def run(self) -> None:
        pause = 1.0
        while not self.stopping.wait(pause):
            try:
                pause = self._work()
            except (DatabaseError, InterfaceError) as error:
                log.warning("%s goes on later: %s", self.name, error)
                connection.close()
                pause = AGAIN
        connection.close()

    def stop(self) -> None:
        """Waits for what it is at, up to five seconds."""
        self.stopping.set()
        self.join(5.0)
