"""`manage.py up` as a person uses it: real processes, a folder of its own, a free port."""

import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import httpx
import psutil
import psycopg
import pytest

from benchmarks.stack import ROOT, free_port, scratch_database, wait_until
from jobsite.embedded import endpoints

pytestmark = pytest.mark.early

PASSWORD_LINE = re.compile(r"sign in as admin with the password (\S+)")
SERVERS = ("postgres", "valkey-server", "redis-server")


class Up:
    """One `manage.py up`."""

    def __init__(self, var, **env):
        self.var, self.port = var, free_port()
        self.log = var.parent / f"up-{time.monotonic_ns()}.log"
        kept = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE")}
        self.env = kept | {"JOBSITE_VAR": str(var), "PORT": str(self.port), "JOBSITE_WORKER_PROCESSES": "2"} | env
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up"],
                cwd=ROOT,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def said(self):
        return self.log.read_text(errors="replace")

    def answers(self):
        assert self.process.poll() is None, self.said
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def wait(self):
        wait_until("the first page answers", self.answers)
        return self

    def family(self):
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, number, *, group=False):
        """Signal it; its exit code, and what is left of its family half a minute later."""
        family = self.family()
        (os.killpg if group else os.kill)(self.process.pid, number)
        code = self.process.wait(40)
        _, left = psutil.wait_procs(family, timeout=30)
        return code, left


@pytest.fixture
def var(tmp_path):
    """A folder below one that other users may pass through: PostgreSQL does not run as root."""
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    return tmp_path / "var"


@pytest.fixture
def up(var):
    started = []

    def start(**env):
        started.append(Up(var, **env))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.end(signal.SIGTERM)


def count(var, sql):
    with psycopg.connect(endpoints(var).database_url) as link:
        return link.execute(sql).fetchone()[0]


@pytest.mark.timeout(240)
def test_from_the_first_start_through_ctrl_c_and_a_kill_to_the_third_start_nothing_is_lost(up, var):
    first = up().wait()
    assert len(PASSWORD_LINE.findall(first.said)) == 1
    assert f"http://127.0.0.1:{first.port}/" in first.said
    assert "\x1b" not in first.said  # no colours without a terminal
    assert var.stat().st_mode & 0o777 == 0o700
    ports = {c.laddr.port for p in first.family() for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    assert ports == {first.port}
    wait_until("the first work runs", lambda: count(var, "SELECT count(*) FROM jobs_job WHERE status <> 'pending'"))
    submitted = count(var, "SELECT count(*) FROM jobs_job")

    began = time.monotonic()
    second = up()
    assert second.process.wait(20) == 1
    assert f"already running here: http://127.0.0.1:{first.port}/" in second.said
    assert time.monotonic() - began < 10
    assert first.answers()

    code, left = first.end(signal.SIGINT, group=True)
    assert (code, left) == (0, []), first.said
    assert first.said.rstrip().endswith("stopped")

    third = up().wait()
    assert not PASSWORD_LINE.search(third.said)
    code, left = third.end(signal.SIGKILL)
    assert left == []

    fourth = up().wait()
    wait_until("the first work is done", lambda: not count(var, "SELECT count(*) FROM jobs_job WHERE finished_at IS NULL"), 120)
    assert count(var, "SELECT count(*) FROM jobs_job WHERE status = 'completed'") == submitted
    assert fourth.end(signal.SIGTERM) == (0, [])


def test_with_both_urls_set_neither_server_is_started(up):
    with scratch_database() as database:
        started = up(DATABASE_URL=database, REDIS_URL=os.environ["REDIS_URL"], JOBSITE_REDIS_PREFIX=f"up{os.getpid()}").wait()
        names = {process.name() for process in started.family()}
        assert not names & set(SERVERS)
        assert started.end(signal.SIGTERM) == (0, [])


def test_a_taken_port_is_named_before_anything_is_started(up, var):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = up(PORT=str(taken.getsockname()[1]))
        assert refused.process.wait(20) == 1
    assert "set PORT to a free one" in refused.said
    assert not (var / "postgres").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try it as another user; the other tests then run as an ordinary one")
def test_an_ordinary_user_can_start_the_services(var):
    nobody = pwd.getpwnam("nobody")
    var.mkdir(mode=0o700)
    os.chown(var, nobody.pw_uid, nobody.pw_gid)
    script = (
        "import sys, psycopg, redis; from pathlib import Path; from jobsite.embedded import Embedded, endpoints\n"
        "var = Path(sys.argv[1])\n"
        "with Embedded(var):\n"
        "    where = endpoints(var)\n"
        "    print(psycopg.connect(where.database_url).execute('SELECT current_user').fetchone()[0],"
        " redis.Redis.from_url(where.redis_url).ping())\n"
    )
    # The interpreter, or the checkout, may lie in root's home: the right to pass through it is the only one kept.
    caps = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    become = ["setpriv", "--reuid", str(nobody.pw_uid), "--regid", str(nobody.pw_gid), "--clear-groups", *caps]
    done = subprocess.run([*become, sys.executable, "-c", script, str(var)], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["jobsite", "True"], done.stderr
    assert {path.owner() for path in (var / "postgres", var / "redis", var / "run")} == {"nobody"}


@pytest.mark.timeout(240)
def test_with_an_api_port_one_command_starts_both_servers_and_a_job_handed_in_at_one_is_waited_for_at_the_other(up):
    port = free_port()
    both = up(API_PORT=str(port)).wait()
    wait_until("the API server answers", lambda: listens(port))
    made = subprocess.run(
        [sys.executable, "manage.py", "token", "create", "--name", "me"], cwd=ROOT, env=both.env, capture_output=True, text=True
    )
    headers = {"Authorization": f"Bearer {made.stdout.split()[-1]}"}
    wanted = {"id": "mine", "toolName": "codemap", "params": {"package": "json"}}
    handed_in = httpx.post(f"http://127.0.0.1:{port}/api/v1/jobs", json=wanted, headers=headers, timeout=30)
    assert (handed_in.status_code, handed_in.headers["Location"]) == (202, "/api/v1/jobs/mine")
    waited = httpx.get(f"http://127.0.0.1:{both.port}/api/v1/jobs/mine/result?wait=30", headers=headers, timeout=60)
    assert (waited.status_code, waited.json()["structuredContent"]["name"]) == (200, "json"), both.said
    code, left = both.end(signal.SIGINT, group=True)
    assert (code, left) == (0, []), both.said


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
