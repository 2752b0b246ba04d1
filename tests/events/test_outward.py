"""Webhooks go to hosts that are named and to public addresses, however an address is written."""

import asyncio
import socket

import httpcore2
import pytest

from jobs import outward, pinned
from jobs.errors import InvalidRequest


@pytest.fixture(autouse=True)
def named(settings):
    settings.JOBSITE_WEBHOOK_HOSTS = ["hooks.example.org", "*.example.com", "example.net:8443"]
    settings.JOBSITE_WEBHOOK_LOOPBACK_FOR_TESTS = False


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.org/a?b=c",
        "https://HOOKS.example.org:443/",
        "https://a.b.example.com/",
        "https://example.net:8443/x",
    ],
)
def test_named_hosts_are_taken(url):
    outward.check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.org/",
        "https://hooks.example.org:8443/",
        "https://example.com/",
        "https://badexample.com/",
        "https://example.net/",
        "https://hooks.example.org.evil.test/",
        "https://user:pass@hooks.example.org/",
        "https://hooks.example.org@evil.test/",
        "https://evil.test\\@hooks.example.org/",
        "https://hooks.example.org/#part",
        "https://hooks.example.org:99999/",
        "https://127.0.0.1/",
        "https:///path",
        "https://hooks.example.org/a b",
        "ftp://hooks.example.org/",
    ],
)
def test_other_addresses_are_refused(url):
    with pytest.raises(InvalidRequest):
        outward.check_url(url)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450:4001:81b::200e", "64:ff9b::808:808"])
def test_public_addresses_may_be_called(address):
    assert outward.is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
        *("224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1"),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "ff02::1", "fec0::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1"),
        *("64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1"),
        "no address",
    ],
)
def test_private_loopback_link_local_and_what_stands_for_them_may_not(address):
    assert not outward.is_public(address)


def test_tests_may_allow_loopback_and_nothing_else(settings):
    settings.JOBSITE_WEBHOOK_LOOPBACK_FOR_TESTS = True
    assert outward.is_public("127.0.0.1")
    assert outward.is_public("::1")
    assert not outward.is_public("10.0.0.1")


def answers(monkeypatch, *found):
    """What the resolver says, one answer after the other."""
    asked = iter(found)
    entries = lambda addresses: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, 443)) for a in addresses]  # noqa: E731
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: entries(next(asked)))


@pytest.mark.parametrize("found", [["10.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"]])
def test_a_name_that_leads_inside_is_refused_also_among_public_addresses(monkeypatch, found):
    answers(monkeypatch, found)
    with pytest.raises(pinned.AddressRefused):
        asyncio.run(pinned.addresses("hooks.example.org", 443))


@pytest.mark.parametrize("number", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1"])
def test_numbers_that_the_system_reads_as_loopback_are_refused(number):
    with pytest.raises((pinned.AddressRefused, httpcore2.ConnectError)):
        asyncio.run(pinned.addresses(number, 443))


def test_a_name_that_changes_its_mind_is_asked_once_and_what_was_checked_is_connected_to(monkeypatch):
    answers(monkeypatch, ["8.8.8.8"], ["127.0.0.1"])
    called: list[str] = []

    async def connect(self, host, *_):
        called.append(host)
        raise httpcore2.ConnectError("nobody there")

    monkeypatch.setattr(httpcore2.AnyIOBackend, "connect_tcp", connect)
    with pytest.raises(httpcore2.ConnectError):
        asyncio.run(pinned.PinnedBackend().connect_tcp("hooks.example.org", 443))
    assert called == ["8.8.8.8"]


@pytest.mark.parametrize("name", ["a..example.com", "x" * 70 + ".example.com"])
def test_a_name_that_cannot_be_one_is_a_failed_connection(name):
    with pytest.raises(httpcore2.ConnectError):
        asyncio.run(pinned.addresses(name, 443))
