"""What ends jobs that do not end by themselves: time, memory and cancel, on real worker processes, whose other jobs go on."""

import os
import textwrap
from pathlib import Path

import pytest

from benchmarks.stack import Stack, wait_until

TOOLS = '''
import subprocess, sys, time
from jobs.tools import tool

HOLD = "x = []\\nimport time\\nwhile len(x) < {mb} // 8: x.append(b'x' * 8388608); time.sleep(0.002)\\ntime.sleep({then})"

@tool("stop.hold")
def hold(mb: int, then: float = 30.0) -> None:
    """Hold so much memory for a while."""
    exec(HOLD.format(mb=mb, then=then))

@tool("stop.hold_below")
def hold_below(mb: int, then: float = 30.0) -> None:
    """Let a grandchild hold it."""
    middle = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    subprocess.run([sys.executable, "-c", middle, HOLD.format(mb=mb, then=then)])

@tool("stop.polite")
def polite(job, seconds: float = 500.0) -> None:
    """Look up now and then."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        job.check()
        time.sleep(0.02)

@tool("stop.asleep")
def asleep() -> None:
    """Never look up."""
    time.sleep(60)

@tool("stop.deaf")
def deaf() -> None:
    """Do not even heed an exception."""
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass
'''
BEAT = 5.0


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tools")
    (folder / "stoptools.py").write_text(TOOLS)
    env = {
        "JOBSITE_TOOLS": "stoptools",
        "PYTHONPATH": os.pathsep.join([str(folder), str(Path(__file__).parents[2])]),
        # A beat that is far off shows that the wish to stop comes by itself.
        "JOBSITE_BEAT": str(BEAT),
        "JOBSITE_GRACE": "1",
    }
    with Stack(worker_processes=3, slots=3, **env) as running:
        yield running


def shell(stack, text):
    script = "from jobs import lifecycle\nfrom jobs.lifecycle import Submission\nfrom jobs.limits import Resources\n"
    return stack.manage("shell", "-v", "0", "-c", script + textwrap.dedent(text))


def job(stack, job_id):
    (row,) = stack.query(
        "SELECT j.status, j.reason, a.error_category, a.peak_memory_mb, a.pid FROM jobs_job j"
        " LEFT JOIN jobs_attempt a ON a.job_id = j.id WHERE j.id = %s",
        job_id,
    )
    return row


def is_final(stack, job_id):
    return job(stack, job_id)[0] not in ("pending", "running")


def is_running(stack, job_id):
    return job(stack, job_id)[0] == "running"


def alive(pid):
    return Path(f"/proc/{pid}").exists()


def test_a_job_that_holds_more_memory_than_it_may_is_ended_and_its_neighbours_and_the_worker_live_on(stack):
    shell(
        stack,
        """
        def submit(name, tool, memory, **params):
            lifecycle.submit(Submission(tool=tool, id=name, params=params, max_retries=0,
                                        resources=Resources(memory_mb=memory)), by="t")
        submit("neighbour", "stop.polite", 0, seconds=12)
        submit("greedy", "stop.hold", 64, mb=400)
        submit("greedy-below", "stop.hold_below", 64, mb=400)
        submit("within", "stop.hold", 64, mb=80, then=1)
        submit("free", "stop.hold", 0, mb=300, then=1)
        """,
    )
    worker = stack.processes["worker"].pid
    for name in ("greedy", "greedy-below", "within", "free", "neighbour"):
        wait_until(f"{name} has ended", lambda name=name: is_final(stack, name))
    for name in ("greedy", "greedy-below"):
        status, reason, category, peak, pid = job(stack, name)
        assert (status, category) == ("failed", "resource"), reason
        assert "may hold 96 MB" in reason
        # Caught well before it had all it wanted.
        assert 96 < peak < 350
        wait_until("its process is gone", lambda pid=pid: not alive(pid))
    assert [job(stack, name)[0] for name in ("within", "free", "neighbour")] == ["completed"] * 3
    assert stack.processes["worker"].poll() is None
    assert stack.one("SELECT stopped_at IS NULL FROM jobs_worker WHERE pid = %s", worker)


def test_time_outs_raise_in_the_tool_or_end_its_process_and_the_slot_is_back_in_both(stack):
    shell(
        stack,
        """
        for name in ("asleep", "deaf"):
            lifecycle.submit_many([Submission(tool=f"stop.{name}", id=f"late-{name}-{n}", timeout_ms=500, max_retries=0)
                                   for n in range(3)], by="t")
        lifecycle.submit(Submission(tool="stop.hold", id="after", params={"mb": 8, "then": 0}), by="t")
        """,
    )
    wait_until("the last has run", lambda: is_final(stack, "after"))
    for name in ("asleep", "deaf"):
        for n in range(3):
            status, reason, category, _, pid = job(stack, f"late-{name}-{n}")
            assert (status, category) == ("failed", "timeout"), reason
            if name == "deaf":  # The other heeds the exception, and its process goes on.
                wait_until("its process is gone", lambda pid=pid: not alive(pid))
    assert job(stack, "after")[0] == "completed"
    states = {state for (state,) in stack.query("SELECT state FROM jobs_attempt WHERE job_id LIKE 'late-%%'")}
    assert states == {"timed_out"}
    lines = stack.one("SELECT diagnostics FROM jobs_job WHERE id = 'late-deaf-0'")
    assert any("80 %" in line for line in lines)


def test_a_cancel_is_felt_long_before_the_next_beat_and_forced_after_the_grace_on_a_whole_family(stack):
    shell(
        stack,
        """
        for name, tool in (("kind", "stop.polite"), ("rude", "stop.deaf")):
            lifecycle.submit(Submission(tool=tool, id=name, batch="family", timeout_ms=600_000), by="t")
            lifecycle.submit_many([Submission(tool="stop.polite", batch="family", depends_on=[name]) for _ in range(50)], by="t")
        """,
    )
    for name in ("kind", "rude"):
        wait_until(f"{name} runs", lambda name=name: is_running(stack, name))
    # Now each has a beat behind it and an ear that listens.
    wait_until("they have run for a while", lambda: stack.one(
        "SELECT min(now() - started_at) > interval '2 seconds' FROM jobs_job WHERE id IN ('kind', 'rude')"))  # fmt: skip
    shell(stack, "print(lifecycle.cancel_family('batch', 'family', by='t', reason='enough'))")
    wait_until("all have ended", lambda: stack.one(
        "SELECT count(*) FROM jobs_job WHERE batch = 'family' AND status = 'cancelled' AND reason = 'enough'") == 102)  # fmt: skip
    took = dict(
        stack.query(
            "SELECT id, extract(epoch FROM finished_at - cancel_requested_at)::float FROM jobs_job WHERE id IN ('kind', 'rude')"
        )
    )
    assert took["kind"] < 1.5
    assert 1 <= took["rude"] < BEAT
    wait_until("its process is gone", lambda: not alive(job(stack, "rude")[4]))
