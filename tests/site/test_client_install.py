"""`pip install ./client` as a person does it, into an environment that has neither Django nor this repository."""

import os
import subprocess
import sys
import sysconfig

import pytest

from benchmarks.stack import ROOT, free_port


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    place = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    pip = [place / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "install", "--quiet", ROOT / "client"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return place


def run(*command, **env):
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "DJANGO_SETTINGS_MODULE")}
    return subprocess.run(command, env=clean | env, cwd="/", capture_output=True, text=True, timeout=120)


@pytest.mark.timeout(600)
def test_the_command_runs_without_django(environment):
    python = environment / "bin" / "python"
    names = run(python, "-m", "pip", "list", "--format", "freeze").stdout.lower()
    assert "jobsite-client==" in names
    assert "django" not in names
    assert "submit" in run(environment / "bin" / "jobsite", "--help").stdout
    unreachable = run(environment / "bin" / "jobsite", "list", JOBSITE_URL=f"http://127.0.0.1:{free_port()}")
    assert (unreachable.returncode, "does not answer" in unreachable.stderr) == (5, True)


@pytest.mark.timeout(600)
def test_it_brings_its_types(environment):
    version = f"python{sysconfig.get_python_version()}"
    assert (environment / "lib" / version / "site-packages" / "jobsite_client" / "py.typed").exists()
