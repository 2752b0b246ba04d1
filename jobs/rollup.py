"""Counts events into minutes, hours and days: each once, whatever crashes, and none forgotten.

A fence is kept at the end of the log as it was seen (jobs.horizon); when the log is complete up to there, it is counted. The mark
of what is counted moves in the same transaction.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import connection, transaction
from django.db.models.functions import Now

from jobs import horizon
from jobs.histogram import BUCKET_SQL
from jobs.horizon import Horizon
from jobs.models import Rollup, RollupMark

# Days for which minutes and hours are kept; days are kept for ever.
KEPT = {"minute": 2, "hour": 40}
# Events one pass counts at most: some tens of milliseconds.
MOST = 2000

_MARK = "SELECT counted, fence, fence_xid FROM jobs_rollupmark WHERE id = 1 FOR UPDATE"
_FENCE = "UPDATE jobs_rollupmark SET fence = %(event)s, fence_xid = %(xid)s WHERE id = 1 AND fence = counted AND fence < %(event)s"
_SUMS = """submitted started completed failed cancelled retried lost quarantined timed_out interrupted stopped ended run_ms
    wasted_ms memory_asked_mb memory_used_mb cpu_asked cpu_used scored score""".split()  # noqa: SIM905  (as a list literal it would fill a page)
_ADDED = ", ".join(f"{name} = r.{name} + EXCLUDED.{name}" for name in _SUMS)
_SUMMED = ", ".join(f"sum({name}) AS {name}" for name in _SUMS)
_MERGED = """{name} = (SELECT COALESCE(jsonb_object_agg(key, n), '{{}}') FROM (
        SELECT key, sum(value::bigint) AS n FROM (
            SELECT * FROM jsonb_each_text(r.{name}) UNION ALL SELECT * FROM jsonb_each_text(EXCLUDED.{name})) both_of
        GROUP BY key) added)"""

# 1 what each event says; 2 by minute and group; 3 the same for hours and days, with the histograms; 4 added to what is there.
_COUNT = f"""
WITH moves AS MATERIALIZED (
    SELECT date_trunc('minute', e.at) AS minute, e.verb, e.before, e.after, j.tool, j.operation, j.project, a.state, a.memory_mb,
        a.cpu_weight, a.peak_memory_mb, a.cpu_percent / 100 AS cores, m.performance_score AS score,
        CASE WHEN e.verb = 'start' THEN EXTRACT(EPOCH FROM e.at - a.ready_at)::float8 * 1000 END AS wait_ms,
        CASE WHEN e.before = 'running' AND e.after <> 'running'
            THEN GREATEST(0, EXTRACT(EPOCH FROM e.at - COALESCE(a.started_at, j.started_at)))::float8 * 1000 END AS run_ms
    FROM jobs_event e JOIN jobs_job j ON j.id = e.job_id LEFT JOIN jobs_attempt a ON a.id = e.attempt_id
    LEFT JOIN jobs_jobmetrics m ON m.job_id = e.job_id AND e.after IN ('completed', 'failed')
    WHERE e.id > %(since)s AND e.id <= %(until)s AND (e.before <> e.after OR e.verb = 'submit')
), grouped AS MATERIALIZED (
    SELECT m.*, kind, name
    FROM moves m CROSS JOIN LATERAL (
        VALUES ('all', ''), ('tool', tool), ('operation', operation), ('project', project)) g(kind, name)
    WHERE kind = 'all' OR name <> ''
), minutes AS MATERIALIZED (
    SELECT minute, kind, name, count(*) FILTER (WHERE verb = 'submit') AS submitted,
        count(*) FILTER (WHERE verb = 'start') AS started,
        count(*) FILTER (WHERE after = 'completed') AS completed, count(*) FILTER (WHERE after = 'failed') AS failed,
        count(*) FILTER (WHERE after = 'cancelled') AS cancelled,
        count(*) FILTER (WHERE verb IN ('fail', 'fall_back', 'lose') AND after = 'pending') AS retried,
        count(*) FILTER (WHERE verb IN ('lose', 'quarantine')) AS lost, count(*) FILTER (WHERE verb = 'quarantine') AS quarantined,
        count(run_ms) FILTER (WHERE state = 'timed_out') AS timed_out,
        count(run_ms) FILTER (WHERE state = 'interrupted') AS interrupted,
        count(run_ms) FILTER (WHERE state = 'cancelled') AS stopped, count(run_ms) AS ended, COALESCE(sum(run_ms), 0) AS run_ms,
        COALESCE(sum(run_ms) FILTER (WHERE after <> 'completed'), 0) AS wasted_ms,
        COALESCE(sum(memory_mb) FILTER (WHERE run_ms IS NOT NULL), 0) AS memory_asked_mb,
        COALESCE(sum(peak_memory_mb) FILTER (WHERE run_ms IS NOT NULL), 0) AS memory_used_mb,
        COALESCE(sum(cpu_weight) FILTER (WHERE run_ms IS NOT NULL), 0) AS cpu_asked,
        COALESCE(sum(cores) FILTER (WHERE run_ms IS NOT NULL), 0) AS cpu_used,
        count(score) AS scored, COALESCE(sum(score), 0) AS score
    FROM grouped GROUP BY minute, kind, name
), buckets AS MATERIALIZED (
    SELECT minute, kind, name, what, {BUCKET_SQL.format(ms="ms")} AS bucket, count(*) AS n
    FROM grouped CROSS JOIN LATERAL (
        VALUES ('wait', wait_ms), ('run', CASE WHEN after = 'completed' THEN run_ms END)) w(what, ms)
    WHERE ms IS NOT NULL GROUP BY 1, 2, 3, 4, 5
), spans(span, kept) AS (
    VALUES ('minute', interval '{KEPT["minute"]} days'), ('hour', interval '{KEPT["hour"]} days'), ('day', interval '100 years')
), histograms AS (
    SELECT span, at, kind, name, what, jsonb_object_agg(bucket, n) AS histogram FROM (
        SELECT span, date_trunc(span, minute, 'UTC') AS at, kind, name, what, bucket, sum(n) AS n
        FROM buckets JOIN spans ON minute > now() - kept GROUP BY 1, 2, 3, 4, 5, 6) b
    GROUP BY 1, 2, 3, 4, 5
), summed AS (
    SELECT span, date_trunc(span, minute, 'UTC') AS at, kind, name, {_SUMMED} FROM minutes JOIN spans ON minute > now() - kept
    GROUP BY 1, 2, 3, 4
)
INSERT INTO jobs_rollup AS r (span, at, kind, name, wait, run, {", ".join(_SUMS)})
SELECT span, at, kind, name, COALESCE(w.histogram, '{{}}'), COALESCE(x.histogram, '{{}}'), {", ".join(_SUMS)}
FROM summed LEFT JOIN (SELECT * FROM histograms WHERE what = 'wait') w USING (span, at, kind, name)
LEFT JOIN (SELECT * FROM histograms WHERE what = 'run') x USING (span, at, kind, name)
ORDER BY span, kind, name, at
ON CONFLICT (span, kind, name, at) DO UPDATE SET {_ADDED}, {_MERGED.format(name="wait")}, {_MERGED.format(name="run")}
"""


def roll_up(most: int = MOST) -> bool:
    """Count the next events; true when more could be counted at once."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_MARK)
        row = cursor.fetchone()
        if row is None:
            RollupMark.objects.get_or_create(id=1)
            return True
        counted, fence, xid = row
        if counted < fence and not Horizon(event=fence, xid=xid).is_reached:
            return False
        until = min(fence, counted + most)
        if until > counted:
            cursor.execute(_COUNT, {"since": counted, "until": until})
            cursor.execute("UPDATE jobs_rollupmark SET counted = %s WHERE id = 1", [until])
    if until == fence and (ahead := horizon.beyond(fence)):
        with connection.cursor() as cursor:
            cursor.execute(_FENCE, vars(ahead))
    return bool(until < fence)


def forget_old() -> None:
    """Remove minutes and hours that no page asks for any more."""
    for span, days in KEPT.items():
        Rollup.objects.filter(span=span, at__lt=Now() - timedelta(days=days)).delete()


def counted_up_to() -> int:
    """Events with a greater number are not counted yet, and must not be removed."""
    return RollupMark.objects.filter(id=1).values_list("counted", flat=True).first() or 0
