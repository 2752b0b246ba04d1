"""`python -m benchmarks.peers migrate|worker|send N|note PREFIX N SECONDS|armed KEY`, for the peer named by BENCH_PEER."""

import sys

from benchmarks.peers.app import PEER, note, send  # isort: skip  (sets Django up)
from django.core.management import call_command

match sys.argv[1:]:
    case ["migrate"]:
        call_command("migrate", verbosity=0)
    case ["worker"] if PEER == "procrastinate":
        call_command("procrastinate", "worker", concurrency=16, fetch_job_polling_interval=1, listen_notify=True)
    case ["worker"]:
        call_command("db_worker", interval=0.01, no_startup_delay=True, no_reload=True)
    case ["send", number]:
        send(int(number))
    case ["note", prefix, number, seconds]:
        for place in range(int(number)):
            note.delay(f"{prefix}-{place}", float(seconds))
    case ["armed", key]:
        print("ready", flush=True)
        sys.stdin.readline()
        note.delay(f"{key}-0", 0.0)
