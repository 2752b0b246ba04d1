"""HTTP connections for webhooks: a name is resolved once, what it gave is checked, and exactly that is connected to."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable

import httpcore2
from django.conf import settings

from jobs import outward


class AddressRefused(Exception):
    """The name leads to an address that is not public."""


class PinnedBackend(httpcore2.AsyncNetworkBackend):
    """Between the check and the connection nobody is asked again, so a name that changes its mind gains nothing.

    TLS is checked against the name of the URL, as always.
    """

    def __init__(self) -> None:
        self._sockets = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  (the interface's)
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Raises `AddressRefused`, or `httpcore2.ConnectError` when none of its addresses answers."""
        failed: Exception = httpcore2.ConnectError(f"{host} has no address")
        for address in await addresses(host, port):
            try:
                return await self._sockets.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failed = error
        raise failed


async def addresses(host: str, port: int) -> list[str]:
    """The public addresses of a host. One that is not is enough to refuse them all: nobody honest has such a mixture."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore2.ConnectError(f"{host} cannot be resolved: {error}") from error
    numeric = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if refused := [address for address in numeric if not outward.is_public(address)]:
        raise AddressRefused(f"{host} leads to {', '.join(refused[:3])}, which is not public")
    return numeric


def connections(most: int) -> httpcore2.AsyncConnectionPool:
    """None is kept: each delivery is checked anew. No proxy of the environment is used, and no redirect followed."""
    return httpcore2.AsyncConnectionPool(
        ssl_context=ssl.create_default_context(cafile=settings.JOBSITE_WEBHOOK_CA or None),
        max_connections=most,
        max_keepalive_connections=0,
        network_backend=PinnedBackend(),
    )
