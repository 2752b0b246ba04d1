"""A small HTTP load: connections that send the same request again and again, from a process of their own."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping

READ = 65_536


def request_of(method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Content-Length: {len(body)}",
        *(f"{k}: {v}" for k, v in headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
    if b"content-length" in fields:
        return status, await reader.readexactly(int(fields[b"content-length"]))
    body = b""
    if b"chunked" in fields.get(b"transfer-encoding", b""):
        while size := int((await reader.readline()).strip() or b"0", 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    return status, body


async def _connection(port: int, request: bytes, until: float, expected: int, seen: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.perf_counter() < until:
        began = time.perf_counter()
        writer.write(request)
        status, body = await answer_of(reader)
        if status != expected:
            raise RuntimeError(f"answered {status}: {body[:300]!r}")
        seen.append(time.perf_counter() - began)
    writer.close()


async def drive(port: int, request: bytes, *, connections: int, seconds: float, expected: int) -> dict[str, float]:
    """Answers a second, and p50 and p99 in ms."""
    seen: list[float] = []
    began = time.perf_counter()
    await asyncio.gather(*(_connection(port, request, began + seconds, expected, seen) for _ in range(connections)))
    took = time.perf_counter() - began
    seen.sort()
    return {"a_second": len(seen) / took, "p50_ms": 1000 * seen[len(seen) // 2], "p99_ms": 1000 * seen[len(seen) * 99 // 100]}


if __name__ == "__main__":
    # In a process of its own, so that what drives does not slow what is driven more than it must.
    wanted = json.loads(sys.stdin.read())
    text = request_of(wanted["method"], wanted["path"], wanted["headers"], wanted["body"].encode())
    print(
        json.dumps(
            asyncio.run(
                drive(
                    wanted["port"],
                    text,
                    connections=wanted["connections"],
                    seconds=wanted["seconds"],
                    expected=wanted["expected"],
                )
            )
        )
    )
