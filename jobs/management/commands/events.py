"""`manage.py events`: tell subscribers what happens to jobs."""

from __future__ import annotations

import signal
from typing import Any

from django.core.management.base import BaseCommand

from jobs.courier import Courier


class Command(BaseCommand):
    help = "Tell subscribers what happens to jobs: one process leads, further ones stand by. Ctrl-C ends it."

    def handle(self, *args: Any, **options: Any) -> None:
        courier = Courier()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: courier.stop())
        courier.run()
