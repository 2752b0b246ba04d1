"""A real HTTPS receiver on this machine, with a certificate of its own authority, that answers as it is told."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme

Answer = tuple[int, dict[str, str]]


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """`answer` is called with each request, in the server's thread, and may take its time."""

    port: int
    ca: Path
    answer: Callable[[Received], Answer] = lambda request: (204, {})
    received: list[Received] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/hook"

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "JOBSITE_WEBHOOK_HOSTS": [f"localhost:{self.port}"],
            "JOBSITE_WEBHOOK_CA": str(self.ca),
            "JOBSITE_WEBHOOK_LOOPBACK_FOR_TESTS": True,
        }

    @property
    def env(self) -> dict[str, str]:
        return {
            "JOBSITE_WEBHOOK_HOSTS": f"localhost:{self.port}",
            "JOBSITE_WEBHOOK_CA": str(self.ca),
            "JOBSITE_WEBHOOK_LOOPBACK_FOR_TESTS": "1",
        }


@contextmanager
def receiving(folder: Path, port: int = 0, *names: str) -> Iterator[Receiver]:
    """One that listens, at a free port if none is said; `names` are further names that its certificate is for."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", *names).configure_cert(context)
    receiver = Receiver(port=port, ca=folder / "ca.pem")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = Received(self.path, dict(self.headers.items()), body)
            receiver.received.append(request)
            status, headers = receiver.answer(request)
            self.send_response(status)
            for name, value in ({"Content-Length": "0"} | headers).items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
