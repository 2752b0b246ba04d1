"""Clients that wait for jobs, from a process of their own: `python -m benchmarks.waiting`, told by JSON on its input.

Prints "waiting" when all requests are on their way, and in the end, for each client, the seconds since the epoch of its answer.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time

from benchmarks.load import answer_of, request_of


async def client(port: int, request: bytes) -> float:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    status, body = await answer_of(reader)
    at = time.time()
    if status != 200:
        raise RuntimeError(f"answered {status}: {body[:300]!r}")
    writer.close()
    return at


async def main(port: int, headers: dict[str, str], waits: list[tuple[str, str]]) -> None:
    tasks = []
    for place, (path, tag) in enumerate(waits):
        tasks.append(asyncio.create_task(client(port, request_of("GET", path, headers | {"If-None-Match": tag}, b""))))
        # In small groups, so that the first look of each does not queue behind all others.
        if place % 10 == 9:
            await asyncio.sleep(0.1)
    print("waiting", flush=True)
    print(json.dumps(await asyncio.gather(*tasks)), flush=True)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    wanted = json.loads(sys.stdin.readline())
    asyncio.run(main(wanted["port"], wanted["headers"], wanted["waits"]))
