"""What a monitoring system asks for every few seconds: kept figures only, in five queries that do not grow with the jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from jobs import statistics
from jobs.briefly import briefly
from jobs.lifecycle.rows import execute, fetch
from jobs.states import FINAL, Gate, Status
from jobs.workers import ALIVE_FOR, LEADER_LOCK

Row = Mapping[str, Any]
Figures = Mapping[tuple[str, ...], float]

_JOBS = "SELECT status, gate, tool, sum(n)::bigint FROM jobs_tally GROUP BY 1, 2, 3 HAVING sum(n) > 0"
# Days are kept for ever and every event is in one, so these sums only grow. An attempt that ended otherwise has failed; those that
# ended before all outcomes were told apart are counted so, too.
_EVENTS = """
SELECT name AS tool, sum(submitted)::bigint AS submitted, sum(completed)::bigint AS completed, sum(failed)::bigint AS failed,
    sum(cancelled)::bigint AS cancelled, sum(retried)::bigint AS retried, sum(lost)::bigint AS lost,
    sum(quarantined)::bigint AS quarantined, sum(timed_out)::bigint AS timed_out, sum(interrupted)::bigint AS interrupted,
    sum(stopped)::bigint AS stopped, sum(ended)::bigint AS ended, sum(run_ms) / 1000 AS run_seconds
FROM jobs_rollup WHERE span = 'day' AND kind = 'tool' GROUP BY 1
"""
_NOW = """
SELECT live.running, live.admitted, c.max_concurrent_jobs, w.workers, w.slots, leader.age, leader.silent
FROM (
    SELECT count(*) FILTER (WHERE state = 'running') AS running, count(*) FILTER (WHERE state = 'admitted') AS admitted
    FROM jobs_attempt WHERE state IN ('admitted', 'running')
) live LEFT JOIN jobs_queueconfig c ON TRUE CROSS JOIN (
    SELECT count(*) AS workers, COALESCE(sum(slots), 0)::bigint AS slots FROM jobs_worker
    WHERE stopped_at IS NULL AND beat_at > now() - make_interval(secs => %(alive)s)
) w LEFT JOIN (
    SELECT EXTRACT(EPOCH FROM clock_timestamp() - a.backend_start)::float8 AS age,
        GREATEST(0, EXTRACT(EPOCH FROM clock_timestamp() - a.state_change))::float8 AS silent
    FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.objid = %(lock)s AND l.granted
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
) leader ON TRUE
"""

# Whoever asks, however many: the database is asked once in so many seconds.
FRESH = 2.0


@briefly(FRESH)
def measured() -> bytes:
    """All of it in the text format of Prometheus, version 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures())
    return generate_latest(registry)


class _Figures(Collector):
    def collect(self) -> Iterator[Metric]:
        yield from _jobs()
        yield from _events()
        yield from _now()
        yield _refused()


def _family(
    kind: type[GaugeMetricFamily | CounterMetricFamily], name: str, about: str, labels: Sequence[str], values: Figures
) -> Metric:
    """Figures of one name: `values` by the values of `labels`, in their order. The names of counters end in `_total`."""
    family = kind(name, about, labels=labels)
    for place, value in sorted(values.items()):
        family.add_metric(place, value)
    return family


def _jobs() -> Iterator[Metric]:
    jobs: Counter[tuple[str, ...]] = Counter()
    gates: Counter[tuple[str, ...]] = Counter({(gate,): 0 for gate in Gate.values})
    for status, gate, tool, number in fetch(_JOBS, {}):
        jobs[status, tool] += number
        if status == Status.PENDING:
            gates[gate,] += number
    yield _family(GaugeMetricFamily, "jobsite_jobs", "Jobs that are kept.", ["status", "tool"], jobs)
    about = "Pending jobs by what they wait for; open ones wait for a slot or a process."
    yield _family(GaugeMetricFamily, "jobsite_queue_length", about, ["gate"], gates)


def _events() -> Iterator[Metric]:
    rows = execute(_EVENTS, {})
    yield _by_tool("jobsite_jobs_submitted_total", "Jobs that came in.", rows, lambda row: row["submitted"])
    ends: Figures = {(status, str(row["tool"])): row[status] for row in rows for status in sorted(FINAL)}
    yield _family(CounterMetricFamily, "jobsite_jobs_ended_total", "Ends of jobs.", ["status", "tool"], ends)
    outcomes: Figures = {(outcome, str(row["tool"])): n for row in rows for outcome, n in _outcomes(row).items()}
    about = "Attempts that began and have ended."
    yield _family(CounterMetricFamily, "jobsite_attempts_total", about, ["outcome", "tool"], outcomes)
    yield _by_tool("jobsite_retries_total", "Attempts that failed and were followed by another.", rows, lambda row: row["retried"])
    yield _by_tool("jobsite_losses_total", "Attempts whose process ended without a word.", rows, lambda row: row["lost"])
    about = "Losses after which the job went on by itself; after the others it was quarantined."
    yield _by_tool("jobsite_rescues_total", about, rows, lambda row: row["lost"] - row["quarantined"])
    about = "Time that attempts have run, together."
    yield _by_tool("jobsite_run_seconds_total", about, rows, lambda row: row["run_seconds"])


def _outcomes(row: Row) -> dict[str, int]:
    told = {
        "succeeded": row["completed"],
        "lost": row["lost"] - row["quarantined"],
        "quarantined": row["quarantined"],
        "timed_out": row["timed_out"],
        "interrupted": row["interrupted"],
        "cancelled": row["stopped"],
    }
    return told | {"failed": max(0, row["ended"] - sum(told.values()))}


def _by_tool(name: str, about: str, rows: Sequence[Row], figure: Callable[[Row], float]) -> Metric:
    values: Figures = {(str(row["tool"]),): figure(row) for row in rows}
    return _family(CounterMetricFamily, name, about, ["tool"], values)


def _now() -> Iterator[Metric]:
    params = {"alive": ALIVE_FOR.total_seconds(), "lock": LEADER_LOCK}
    for running, admitted, slots, workers, processes, age, silent in fetch(_NOW, params):
        yield _single("jobsite_running", "Attempts that run.", running)
        yield _single("jobsite_admitted", "Attempts that have a slot and have not begun.", admitted)
        if slots is not None:  # nobody has asked for the configuration yet, which makes it
            yield _single("jobsite_slots", "Attempts that may have a slot at once.", slots)
        yield _single("jobsite_workers_alive", "Workers that gave a sign of life lately.", workers)
        yield _single("jobsite_worker_slots", "Jobs that those workers run at once.", processes)
        yield _single("jobsite_dispatcher_leading", "Is there a dispatcher that leads? 0 or 1.", int(age is not None))
        if age is not None:
            yield _single("jobsite_dispatcher_leader_age_seconds", "Age of the connection of the dispatcher that leads.", age)
            about = "Since that dispatcher began or ended its last statement."
            yield _single("jobsite_dispatcher_leader_silent_seconds", about, silent)


def _refused() -> Metric:
    about = "Writes of attempts that had been given up for lost; none of them counted."
    return CounterMetricFamily("jobsite_refused_writes_total", about, value=statistics.refused_writes())


def _single(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(name, about, value=value)
