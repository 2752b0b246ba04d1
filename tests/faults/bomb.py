"""A fork bomb with a short fuse: eight daemons that are a new process ten times a second, for a minute at most.

A list of them is old when it has been read, and each leaves a dead process a time behind.
"""

BOMB = """
import os, time
for _ in range(3): os.fork()
if os.getpgrp() != os.getpid(): os.setsid()
until = time.monotonic() + 60
while time.monotonic() < until:
    time.sleep(0.1)
    if os.fork(): os._exit(0)
"""
