"""The command `jobsite`, run as people and scripts run it: as a process, with pipes or at a terminal."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import uuid

import pytest

from benchmarks.stack import ROOT, free_port, wait_until

COMMAND = [sys.executable, "-m", "jobsite_client"]
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b\][^\x07]*\x07|\x1b[()][A-Z0-9]")


def environment(door, **more):
    kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "DATABASE_URL")}
    return kept | {"PYTHONPATH": str(ROOT / "client"), "JOBSITE_URL": door.url, "JOBSITE_TOKEN": door.token} | more


class Terminal:
    """A command at a terminal of 160 columns and 30 lines."""

    def __init__(self, door, *arguments):
        self.raw = ""
        pid, self.fd = pty.fork()
        if pid == 0:
            os.chdir(ROOT)
            os.execvpe(COMMAND[0], [*COMMAND, *arguments], environment(door, TERM="xterm-256color", COLUMNS="160", LINES="30"))
        self.pid = pid
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 160, 0, 0))

    @property
    def text(self):
        return ESCAPES.sub("", self.raw)

    def read(self, within=0.1):
        ready, _, _ = select.select([self.fd], [], [], within)
        if not ready:
            return True
        try:
            part = os.read(self.fd, 65536)
        except OSError:
            return False
        self.raw += part.decode(errors="replace")
        return bool(part)

    def until(self, pattern):
        wait_until(f"{pattern!r} on the screen", lambda: (self.read() and False) or re.search(pattern, self.text), pause=0)

    def press(self, keys):
        os.write(self.fd, keys.encode())

    def end(self):
        """The exit code."""
        until = time.monotonic() + 30
        while self.read():
            assert time.monotonic() < until, self.text
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


@pytest.fixture
def run(door):
    def run(*arguments, stdin="", **env):
        return subprocess.run(
            [*COMMAND, *arguments], cwd=ROOT, env=environment(door, **env), input=stdin, capture_output=True, text=True, timeout=120
        )

    return run


def submitted(run, *arguments):
    done = run("submit", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- at a terminal ---------------------------------------------------------------------------------------------------
def test_submit_follow_moves_a_bar_and_prints_the_result(door, until):
    screen = Terminal(door, "submit", "door.until", f"path={until}", "--follow")
    screen.until(r"running .*\d+%.*waiting: tick \d+")
    seen = {int(number) for number in re.findall(r"(\d+)%", screen.text)}
    screen.until(r"door\.until-\w+")
    until.touch()
    assert screen.end() == 0
    seen |= {int(number) for number in re.findall(r"(\d+)%", screen.text)}
    assert len(seen) >= 2
    assert 100 in seen
    assert "completed" in screen.text
    assert '{"result":"there"}' in screen.text
    assert "\x1b[?25h" in screen.raw, "the cursor is shown again"


def test_ctrl_c_leaves_the_job_running_and_says_how_to_cancel_it(door, until, client):
    screen = Terminal(door, "submit", "door.until", f"path={until}", "-f")
    screen.until(r"door\.until-\w+ running")
    screen.press("\x03")
    assert screen.end() == 130
    (job_id,) = set(re.findall(r"jobsite cancel (door\.until-\w+)", screen.text))
    assert door.status(job_id) == "running"
    until.touch()
    assert door.until_final(job_id) == "completed"


def test_watch_shows_a_bar_for_each_job_of_a_batch(door, run, until):
    batch = f"b-{uuid.uuid4()}"
    held = submitted(run, "door.until", f"path={until}", "--batch", batch)
    quick = submitted(run, "door.echo", "text=a", "--batch", batch)
    screen = Terminal(door, "watch", "--batch", batch)
    for job_id in (held, quick):
        screen.until(re.escape(job_id))
    screen.until(r"1 of 2 finished")
    until.touch()
    assert screen.end() == 0
    assert "2 of 2 completed" in screen.text


def test_top_shows_what_runs_until_q(door, run, until):
    job_id = submitted(run, "door.until", f"path={until}")
    screen = Terminal(door, "top", "--every", "0.3")
    screen.until(rf"{re.escape(job_id)}\s+running")
    screen.until(r"[1-9] running .* jobs in all")
    screen.press("q")
    assert screen.end() == 0
    assert "\x1b[?1049l" in screen.raw, "the screen is as it was before"


def test_a_message_cannot_steer_the_terminal(door, until):
    screen = Terminal(door, "submit", "door.until", f"path={until}", "rude:=true", "-f")
    screen.until(r"waiting: tick \d+.\[31mred")
    until.touch()
    assert screen.end() == 0
    assert "\x1b[31mred" not in screen.raw
    assert "\x07" not in screen.raw


# --- in scripts ------------------------------------------------------------------------------------------------------
def test_submit_prints_the_id_and_nothing_else(run, door):
    done = run("submit", "door.echo", "text=a")
    assert re.fullmatch(r"door\.echo-\w+\n", done.stdout)
    assert done.stderr == ""


def test_follow_without_a_terminal_has_no_colours_and_says_each_step_once(run):
    done = run("submit", "door.echo", "text=5", "number=5", "-f")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"text": "5", "number": 5}
    assert "\x1b" not in done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert lines[-1].split()[1] == "completed"
    assert len(lines) == len(set(lines))


def test_params_are_read_as_the_schema_says(run, door, tmp_path):
    file = tmp_path / "params.json"
    file.write_text('{"text": "from a file", "number": 1}')
    for arguments, stdin, params in [
        (["text=7", "number=7"], "", {"text": "7", "number": 7}),
        (["text=a=b", "number:=[1, 2]"], "", {"text": "a=b", "number": [1, 2]}),
        (["number=2", "--params", f"@{file}"], "", {"text": "from a file", "number": 2}),
        (["--params", "-"], '{"text": "from a pipe"}', {"text": "from a pipe"}),
    ]:
        done = run("submit", "door.echo", *arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        assert json.loads(run("show", done.stdout.strip(), "--json").stdout)["params"] == params


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["submit", "door.fail", "message=oh no", "-f"], 1, "Permanent: oh no"),
        (["submit", "door.fail", "-f", "--json"], 1, "failed"),
        (["nonsense"], 2, "No such command"),
        (["submit", "door.echo", "text"], 2, "not key=value"),
        (["submit", "door.echo", "--params", "[1]"], 2, "must be a JSON object"),
        (["watch"], 2, "a job or --batch"),
        (["show", "door.echo-unknown"], 3, "there is no job"),
        (["watch", "--batch", "no-such-batch"], 3, "no-such-batch"),
        (["tools", "nope"], 3, "no tool 'nope'"),
        (["--token", "jst_wrong", "list"], 4, "JOBSITE_TOKEN"),
        (["submit", "door.echo", "txt=1"], 6, "txt"),
        (["submit", "nope"], 6, "there is no tool 'nope'"),
    ],
)
def test_exit_codes_tell_scripts_what_happened(run, arguments, code, said):
    done = run(*arguments)
    assert (done.returncode, said in done.stderr + done.stdout) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


def test_an_unreachable_server_is_exit_code_5(run):
    done = run("list", JOBSITE_URL=f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 5
    assert "does not answer" in done.stderr


def test_a_timeout_is_exit_code_7_and_the_job_goes_on(run, door, until):
    job_id = submitted(run, "door.until", f"path={until}")
    done = run("watch", job_id, "--timeout", "1")
    assert done.returncode == 7
    assert "it goes on" in done.stderr
    until.touch()
    assert door.until_final(job_id) == "completed"


def test_an_interrupted_script_leaves_the_job(door, run, until):
    job_id = submitted(run, "door.until", f"path={until}")
    process = subprocess.Popen(
        [*COMMAND, "watch", job_id], cwd=ROOT, env=environment(door), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert job_id in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"jobsite cancel {job_id}" in said
    until.touch()


def test_every_answer_comes_as_json(run, door, until):
    until.touch()
    project = f"p-{uuid.uuid4()}"
    status = json.loads(run("submit", "door.until", f"path={until}", "--project", project, "--json").stdout)
    job_id = status["jobId"]
    assert door.until_final(job_id) == "completed"
    assert [job["id"] for job in json.loads(run("list", "--project", project, "--json").stdout)["jobs"]] == [job_id]
    whole = json.loads(run("watch", job_id, "--json").stdout)
    assert whole["result"]["structuredContent"] == {"result": "there"}
    assert json.loads(run("show", job_id, "--json").stdout)["result"] == whole["result"]
    assert json.loads(run("logs", job_id, "--json").stdout) == {"jobId": job_id, "line": "seen"}
    assert json.loads(run("why", job_id, "--json").stdout) == {"jobId": job_id}
    assert json.loads(run("cancel", job_id, "--json").stdout)["status"] == "completed"
    assert "queue" in json.loads(run("top", "--json").stdout)
    assert "door.echo" in {tool["name"] for tool in json.loads(run("tools", "--json").stdout)["tools"]}


def test_list_show_and_tools_for_people(run, door):
    job_id = submitted(run, "door.fail", "message=for the list", "--priority", "high")
    door.until_final(job_id)
    assert re.search(rf"{job_id} +failed .*for the list", run("list", "-n", "5", "--status", "failed").stdout)
    shown = run("show", job_id).stdout
    for fact in ("priority", "high", "attempts", "Permanent: for the list", "history", "submit"):
        assert fact in shown
    assert re.search(r"door\.echo +text \[number\] +Give back", run("tools").stdout)
    assert re.search(r"text +string +required", run("tools", "door.echo").stdout)
    assert re.search(rf"finished last\s(.*\n)*{job_id} +failed", run("top").stdout)


def test_why_cancel_and_retry(run, door, until):
    job_id = submitted(run, "door.until", f"path={until}", "--delay", "3600")
    assert "Not before" in run("why", job_id).stdout
    assert run("cancel", job_id, "--reason", "not today").stdout == f"{job_id} cancelled\n"
    assert "not today" in run("show", job_id).stdout
    assert run("retry", job_id).returncode == 0
    assert run("retry", job_id).returncode == 6, "it is not finished"
    run("cancel", job_id)


def test_a_token_is_made_used_listed_and_revoked(run, door):
    name = f"robot-{uuid.uuid4()}"
    secret = run("token", "create", name, "--scope", "jobs:read", "--tool", "door.echo", "--expires-days", "1").stdout.strip()
    assert secret.startswith("jst_")
    assert [tool["name"] for tool in json.loads(run("--token", secret, "tools", "--json").stdout)["tools"]] == ["door.echo"]
    assert run("--token", secret, "token", "list").returncode == 4
    assert re.search(rf"{name} +{secret[:8]}… +until .* jobs:read +tool=door.echo", run("token", "list").stdout)
    assert run("token", "create", name).returncode == 6, "names are never used twice"
    assert run("token", "revoke", name).returncode == 0
    assert run("--token", secret, "tools").returncode == 4
    assert run("token", "revoke", "nobody").returncode == 3


def test_logs_follow_gives_every_line_once(run, door):
    job_id = submitted(run, "door.lines", "count=250")
    done = run("logs", "-f", job_id)
    assert done.stdout.splitlines() == [f"line {n}" for n in range(250)]
    assert run("logs", job_id).stdout == done.stdout


def test_a_reader_that_leaves_is_no_error(door, run):
    submitted(run, "door.echo", "text=a")
    line = f"{sys.executable} -m jobsite_client list | true"
    done = subprocess.run(["sh", "-c", line], cwd=ROOT, env=environment(door), capture_output=True, text=True)
    assert "Traceback" not in done.stderr


def test_completion_offers_tools_and_jobs(run):
    job_id = submitted(run, "door.echo", "text=a")
    variables = {"_JOBSITE_COMPLETE": "complete_bash"}
    assert "door.echo" in run(COMP_WORDS="jobsite submit door.e", COMP_CWORD="2", **variables).stdout.split()
    assert job_id in run(COMP_WORDS=f"jobsite show {job_id[:-2]}", COMP_CWORD="2", **variables).stdout.split()
