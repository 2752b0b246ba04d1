"""Processes kept running side by side: honcho's manager, with restart, and an end that leaves nothing behind."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections import deque
from typing import Any

from honcho import manager as honcho_manager
from honcho.manager import Manager
from honcho.printer import Printer
from honcho.process import Popen, Process

# A tool gets its grace to stop, and the same again before it is ended by force; then Celery itself ends.
STOP_WITHIN = 20
# A process that ends this often within this many seconds will not get better by starting it again.
TOO_OFTEN, WITHIN = 5, 30.0
_PR_SET_PDEATHSIG = 1


class _LeaderOnly:
    """Signals the process itself, not its group: Celery's children must be let finish by their parent."""

    def terminate(self, pid: int) -> None:
        self._signal(pid, signal.SIGTERM)

    def kill(self, pid: int) -> None:
        self._signal(-pid, signal.SIGKILL)

    @staticmethod
    def _signal(pid: int, number: signal.Signals) -> None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return


class _Supervised(Process):  # type: ignore[misc]  # honcho is not typed
    """One command, started again when it ends by itself."""

    def __init__(self, *args: Any, stopping: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stopping = stopping

    def run(self, events: Any = None, ignore_signals: bool = False) -> None:  # noqa: FBT001, FBT002  (honcho's signature)
        _die_with_parent()
        self._events = events
        if ignore_signals:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        ends: deque[float] = deque(maxlen=TOO_OFTEN)
        while True:
            code = self._once()
            ends.append(time.monotonic())
            too_often = len(ends) == TOO_OFTEN and ends[-1] - ends[0] < WITHIN
            if self._stopping.is_set() or too_often:
                break
            self._send_message(f"ended by itself (exit {code}); it is started again\n".encode())
            if self._stopping.wait(min(2.0 ** len(ends) / 4, 5.0)):
                break
        self._send_message({"returncode": code}, type="stop")

    def _once(self) -> int:
        # The command ignores nothing that we ignore: a shell resets no ignored signals.
        child = Popen(f"exec {_prefix()}{self.cmd}", env=self.env, cwd=self.cwd, restore_signals=True, preexec_fn=_reset)
        self._send_message({"pid": child.pid}, type="start")
        for line in iter(child.stdout.readline, b""):
            self._send_message(line)
        child.stdout.close()
        return int(child.wait())


def _reset() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _prefix() -> str:
    return "setpriv --pdeathsig TERM " if shutil.which("setpriv") else ""


def _die_with_parent() -> None:
    """If `up` is killed, this watcher is too, and by setpriv the command below it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Processes(Manager):  # type: ignore[misc]
    """Add commands, then `loop()` until Ctrl-C, SIGTERM, or a command that will not stay up."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__(Printer(sys.stdout, colour=colour, prefix=True, width=10))
        honcho_manager.KILL_WAIT = STOP_WITHIN
        self._stopping = multiprocessing.Event()
        self._procmgr = _LeaderOnly()
        self._process_ctor = self._supervised

    def _supervised(self, cmd: str, **kwargs: Any) -> _Supervised:
        return _Supervised(cmd, stopping=self._stopping, **kwargs)

    def terminate(self) -> None:
        self._stopping.set()
        super().terminate()
