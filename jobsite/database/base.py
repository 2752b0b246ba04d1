"""Named by the settings as ENGINE; Django looks for the class below in a module of this name."""

from __future__ import annotations

import select

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    def is_usable(self) -> bool:
        """Asked before the first statement of every request, so it must cost no round trip.

        A server that ends a connection says so and closes it: then there is something to read while nothing was asked. What else
        there may be to read (a notice) is no reason to give the connection up, so then the server is asked.
        """
        return self.connection is not None and (not self._has_unread() or super().is_usable())

    def _has_unread(self) -> bool:
        if self.connection.closed:
            return True
        look = select.poll()
        look.register(self.connection.fileno(), select.POLLIN | select.POLLPRI)
        return bool(look.poll(0))
