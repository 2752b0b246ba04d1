"""docs/api.md, walked through: its commands are run as they stand, against a running server, and print what is below them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.stack import ROOT, Stack

pytestmark = [pytest.mark.timeout(240), pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")]

PAGE = ROOT / "docs" / "api.md"
# Where `manage.py up` listens, as the page has it.
ADDRESS = "http://127.0.0.1:8000"
END = "== end of a command =="


@dataclass(frozen=True)
class Step:
    """A command of the page, and what it is said to print: whole lines, in which `…` is anything."""

    command: str
    says: list[str]


def steps(page: str) -> list[Step]:
    found: list[Step] = []
    for block in re.findall(r"^```console\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = part.rstrip("\n").split("\n")
            ends = next(ends for ends in range(1, len(lines) + 1) if is_whole("\n".join(lines[:ends])))
            found.append(Step("\n".join(lines[:ends]), lines[ends:]))
    return found


def is_whole(command: str) -> bool:
    """Neither is it continued on the next line, nor is a quote open."""
    try:
        shlex.split(command)
    except ValueError:
        return False
    return not command.endswith("\\")


def says(line: str, printed: list[str]) -> bool:
    pattern = re.compile(".*".join(re.escape(part) for part in line.split("…")))
    return any(pattern.fullmatch(one) for one in printed)


def walked(walk: list[Step], stack: Stack, folder: Path) -> list[list[str]]:
    """The lines that each command printed. All run in one shell, so that what one sets the next may use."""
    secret = stack.manage("token", "create", "--name", "me", "--scope", "admin").split()[-1]
    script = "".join(f"{step.command.replace(ADDRESS, stack.address)}\nprintf '\\n%s\\n' '{END}'\n" for step in walk)
    env = os.environ | {"TOKEN": secret}
    shell = ["sh", "-eu"]
    done = subprocess.run(shell, input=script, cwd=folder, env=env, capture_output=True, text=True, timeout=200, check=False)
    printed = [part.replace("\r", "").split("\n") for part in done.stdout.split(END)[:-1]]
    assert len(printed) == len(walk), f"it ended after {walk[len(printed) - 1].command!r}: {done.stderr}"
    return printed


def test_every_command_of_the_page_answers_as_the_page_says(tmp_path: Path) -> None:
    walk = steps(PAGE.read_text())
    assert len(walk) > 20
    with Stack(web=True, worker_processes=1, slots=4) as stack:
        printed = walked(walk, stack, tmp_path)
    wrong = [
        f"$ {step.command}\n- {line}\n+ {' '.join(lines).strip()[:1000]}"
        for step, lines in zip(walk, printed, strict=True)
        for line in step.says
        if not says(line, lines)
    ]
    assert not wrong, "\n\n".join(wrong)


def test_no_call_of_the_page_is_left_out() -> None:
    """What stands in a block of code is run: there is no other kind of block on the page."""
    assert set(re.findall(r"^```(\S+)$", PAGE.read_text(), re.MULTILINE)) == {"console"}
    assert sum(step.command.count("curl") for step in steps(PAGE.read_text())) == PAGE.read_text().count("curl -")


def test_what_the_page_does_not_say_is_found() -> None:
    page = '```console\n$ curl -s \\\n  "$API"\n{"a":"…"}\n$ true\n```\n'
    first, second = steps(page)
    assert (first.command, first.says, second) == ('curl -s \\\n  "$API"', ['{"a":"…"}'], Step("true", []))
    assert says('{"a":"…"}', ["", '{"a":"b"}'])
    assert not says('{"a":"…"}', ['{"b":"c"}'])
    assert not says('{"a":"…"}', ['{"a":"b"} and more'])
