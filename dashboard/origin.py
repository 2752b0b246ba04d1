"""A socket may be opened by our own pages only: browsers send cookies along whoever wrote the page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.http.request import split_domain_port, validate_host

Application = Callable[[Any, Any, Any], Awaitable[Any]]
PORTS = {"http": 80, "https": 443}


class SameOrigin:
    """Refuses the handshake unless scheme, host and port of `Origin` are those of the request itself, or a trusted origin's.

    The host must be one the site answers to; so `ALLOWED_HOSTS = ["*"]` does not let other sites in.
    """

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> Any:
        headers = {name.decode("latin1").lower(): value.decode("latin1") for name, value in scope.get("headers", ())}
        if is_ours(headers, secure=scope.get("scheme") == "wss"):
            return await self.application(scope, receive, send)
        return await WebsocketDenier()(dict(scope), receive, send)


def is_ours(headers: Mapping[str, str], *, secure: bool) -> bool:
    """`headers` by lower case name; `secure`: did the request reach us over TLS?"""
    if settings.BEHIND_PROXY and "x-forwarded-proto" in headers:
        secure = headers["x-forwarded-proto"].strip() == "https"
    host = headers.get("host", "")
    domain, _ = split_domain_port(host)
    origin = _origin(headers.get("origin", ""))
    if origin is None or not domain or not validate_host(domain, settings.ALLOWED_HOSTS):
        return False
    own = _origin(f"{'https' if secure else 'http'}://{host}")
    return origin == own or origin in {_origin(trusted) for trusted in settings.CSRF_TRUSTED_ORIGINS}


def _origin(address: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(address)
        port = parts.port or PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname and port else None
