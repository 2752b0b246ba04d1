"""A TCP proxy in this process, in front of a server that listens on a unix socket: passes, delays, goes silent, resets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from pathlib import Path
from typing import Literal

Mode = Literal["pass", "slow", "silent", "reset"]


class Proxy:
    """`with Proxy(socket_path) as proxy:` listens at 127.0.0.1:`port`; `mode` may change at any time.

    pass: as it comes. slow: each piece is held back for `delay` seconds. silent: half open, connections stay and nothing
    comes through. reset: each connection is ended by RST, also new ones.
    """

    def __init__(self, target: Path, *, delay: float = 0.5) -> None:
        self._target, self._delay = target, delay
        self._mode: Mode = "pass"
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._ways: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self.port = 0

    def __enter__(self) -> Proxy:
        self._thread.start()
        assert self._listening.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def set(self, mode: Mode) -> None:
        """From now on; returns when it holds. What was kept back by silence is passed on when that ends."""
        asyncio.run_coroutine_threadsafe(self._set(mode), self._loop).result(5)

    async def _set(self, mode: Mode) -> None:
        self._mode = mode
        if mode == "silent":
            self._open.clear()
        else:
            self._open.set()
        if mode == "reset":
            for writer in list(self._writers):
                _reset(writer)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connected, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        try:
            self._loop.run_forever()
        finally:
            server.close()
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.run_until_complete(asyncio.sleep(0.05))
            self._loop.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._open.wait()
        try:
            if self._mode == "reset":
                raise ConnectionResetError
            there, back = await asyncio.open_unix_connection(self._target)
        except OSError:
            _reset(writer)
            return
        self._writers |= {writer, back}
        self._way(reader, back)
        self._way(there, writer)

    def _way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        way = self._loop.create_task(self._pass_on(reader, writer))
        self._ways.add(way)
        way.add_done_callback(self._ways.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while piece := await reader.read(65536):
                if self._mode == "slow":
                    await asyncio.sleep(self._delay)
                await self._open.wait()
                writer.write(piece)
                await writer.drain()
        self._writers.discard(writer)
        with contextlib.suppress(OSError):
            if sock := writer.get_extra_info("socket"):
                # Both sides must hear of the end, also one that is blocked in a read on another thread.
                sock.shutdown(socket.SHUT_RDWR)
        writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End by RST instead of FIN: no time is lost with what was not sent yet."""
    with contextlib.suppress(OSError):
        if (sock := writer.get_extra_info("socket")) and sock.family == socket.AF_INET:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
