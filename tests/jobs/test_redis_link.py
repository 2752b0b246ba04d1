import time
from urllib.parse import urlsplit

import pytest

from benchmarks.stack import wait_until
from jobs import redis_link
from tests.faults.proxy import Proxy


@pytest.fixture
def proxy(settings):
    with Proxy(urlsplit(settings.REDIS_URL).path) as between:
        settings.REDIS_URL = f"redis://127.0.0.1:{between.port}/0"
        redis_link.connection.cache_clear()
        yield between
        between.set("pass")
        wait_until("Redis is known to answer", redis_link._reach.holds)
        redis_link.connection().close()
    redis_link.connection.cache_clear()


def published():
    began = time.monotonic()
    return redis_link.publish("channel", b"hint"), time.monotonic() - began


@pytest.mark.parametrize("mode", ["silent", "slow", "reset"])
def test_only_the_first_hint_waits_for_a_redis_that_does_not_answer(proxy, mode):
    assert published()[0]
    proxy.set(mode)
    taken, seconds = published()
    assert not taken
    assert seconds < 2
    for _ in range(20):
        taken, seconds = published()
        assert not taken
        assert seconds < 0.1
    proxy.set("pass")
    wait_until("hints are taken again", lambda: published()[0], 10)
