"""Where webhooks may go: hosts that are named, and only to addresses of the public internet."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from django.conf import settings

from jobs.errors import InvalidRequest, Problem

MAX_URL = 1000
# All that is given out of IPv6; and what stands for an IPv4 address (NAT64), which then has to be public itself.
_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_on() -> bool:
    """Webhooks go nowhere until hosts are named."""
    return bool(settings.JOBSITE_WEBHOOK_HOSTS)


def check_url(url: str) -> None:
    """Raises `InvalidRequest` for what is no https address of a host that is named in JOBSITE_WEBHOOK_HOSTS."""
    if fault := _fault(url):
        raise InvalidRequest(f"the webhook's address cannot be used: {fault}", [Problem(detail=fault, pointer="/url")])


def _fault(url: str) -> str:
    if len(url) > MAX_URL or not url.isascii() or any(ord(char) <= 32 or ord(char) == 127 for char in url) or "\\" in url:
        return f"an address has at most {MAX_URL} visible ASCII characters and no backslash"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", 443 if parts.port is None else parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme != "https" or not host:
        return "it must begin with https:// and a host"
    if parts.username is not None or parts.password is not None or parts.fragment:
        return "it may have no user, password or fragment"
    return "" if is_named(host, port) else f"{host}:{port} is not among JOBSITE_WEBHOOK_HOSTS"


def is_named(host: str, port: int) -> bool:
    """Is it on the list? `hooks.example.org`, `*.example.org` (any below), `example.org:8443`, `*` (any). Without a port, 443."""
    return any(_names(pattern, host.lower().rstrip("."), port) for pattern in settings.JOBSITE_WEBHOOK_HOSTS)


def _names(pattern: str, host: str, port: int) -> bool:
    name, _, said = pattern.lower().partition(":")
    if str(port) != (said or "443"):
        return False
    return name in ("*", host) or (name.startswith("*.") and host.endswith(name[1:]))


def is_public(address: str) -> bool:
    """May this numeric address be called? Never our own network, however it is written; loopback where tests say so."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if settings.JOBSITE_WEBHOOK_LOOPBACK_FOR_TESTS and found.is_loopback:
        return True
    if isinstance(found, ipaddress.IPv4Address):
        return _is_public4(found)
    if found in _NAT64:
        return _is_public4(ipaddress.IPv4Address(found.packed[-4:]))
    inner = found.sixtofour
    return found in _UNICAST and found.is_global and (inner is None or _is_public4(inner))


def _is_public4(address: ipaddress.IPv4Address) -> bool:
    return address.is_global and not address.is_multicast
