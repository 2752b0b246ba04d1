"""How much one caller may ask: buckets that fill with time, far above what any honest program needs."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

# Callers that are remembered; who was forgotten begins with a full bucket.
MOST_KEYS = 10_000
WINDOW = 60.0


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What is left of a quota. `reset` is the seconds until the bucket is full again, `wait` until the next request."""

    quota: int
    left: int
    reset: int
    wait: int

    def headers(self) -> dict[str, str]:
        """By draft-ietf-httpapi-ratelimit-headers."""
        return {
            "RateLimit-Policy": f'"default";q={self.quota};w={WINDOW:g}',
            "RateLimit": f'"default";r={self.left};t={self.reset}',
        }


class Buckets:
    """`quota` requests in any minute for each key; kept by this process alone, so several processes allow as many times that."""

    def __init__(self, quota: int) -> None:
        self.quota = quota
        self._lock = threading.Lock()
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, cost: float = 1.0) -> Allowance:
        """Take from the bucket what is there. `wait` is more than 0 when it was not enough: then nothing was taken."""
        a_second = self.quota / WINDOW
        with self._lock:
            now = time.monotonic()
            level, at = self._levels.pop(key, (float(self.quota), now))
            level = min(self.quota, level + (now - at) * a_second)
            enough = level >= cost
            level -= cost if enough else 0.0
            self._levels[key] = (level, now)
            if len(self._levels) > MOST_KEYS:
                self._levels.popitem(last=False)
        wait = 0 if enough else max(1, math.ceil((cost - level) / a_second))
        return Allowance(quota=self.quota, left=int(level), reset=math.ceil((self.quota - level) / a_second), wait=wait)

    def wait_of(self, key: str) -> int:
        """Seconds until the key may ask again; 0: at once. Takes nothing, and remembers nobody."""
        level, at = self._levels.get(key, (float(self.quota), 0.0))
        left = level + (time.monotonic() - at) * self.quota / WINDOW
        return 0 if left >= 1.0 else max(1, math.ceil((1.0 - left) * WINDOW / self.quota))
