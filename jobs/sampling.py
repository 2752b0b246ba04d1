"""How the queue stands, looked at every ten seconds and kept by the minute."""

from __future__ import annotations

from datetime import timedelta

from django.db import connection
from django.db.models.functions import Now

from jobs.models import QueueSample
from jobs.workers import ALIVE_FOR

# Samples are kept for a little longer than the longest chart that is drawn from them.
KEPT = timedelta(days=35)

# The look of a slice of ten seconds is taken once, whoever leads: the first one writes it.
_SAMPLE = """
WITH moment AS (
    SELECT date_trunc('minute', now()) AS at, 1 + floor(EXTRACT(SECOND FROM now()) / 10)::int AS look
), pending AS (
    SELECT COALESCE(sum(n) FILTER (WHERE gate = 'open'), 0) AS ready, COALESCE(sum(n) FILTER (WHERE gate <> 'open'), 0) AS held
    FROM jobs_tally WHERE status = 'pending'
), live AS (
    SELECT count(*) AS running, count(*) FILTER (WHERE state = 'admitted') AS admitted, COALESCE(sum(memory_mb), 0) AS memory_mb,
        COALESCE(sum(cpu_weight), 0) AS cpu_weight, COALESCE(sum(disk_mb), 0) AS disk_mb
    FROM jobs_attempt WHERE state IN ('admitted', 'running')
), people AS (
    SELECT count(*) AS workers FROM jobs_worker WHERE stopped_at IS NULL AND beat_at > now() - make_interval(secs => %(alive)s)
)
INSERT INTO jobs_queuesample AS s (at, samples, ready, held, running, memory_mb, cpu_weight, disk_mb, workers, slots,
    max_memory_mb, max_cpu_weight, max_disk_mb)
SELECT at, 1, GREATEST(0, ready - admitted), held, running, memory_mb, cpu_weight, disk_mb, workers, max_concurrent_jobs,
    c.max_memory_mb, c.max_cpu_weight, c.max_disk_mb
FROM moment, pending, live, people, jobs_queueconfig c
ON CONFLICT (at) DO UPDATE SET samples = s.samples + 1, ready = s.ready + EXCLUDED.ready, held = s.held + EXCLUDED.held,
    running = s.running + EXCLUDED.running, memory_mb = s.memory_mb + EXCLUDED.memory_mb,
    cpu_weight = s.cpu_weight + EXCLUDED.cpu_weight, disk_mb = s.disk_mb + EXCLUDED.disk_mb,
    workers = s.workers + EXCLUDED.workers, slots = EXCLUDED.slots, max_memory_mb = EXCLUDED.max_memory_mb,
    max_cpu_weight = EXCLUDED.max_cpu_weight, max_disk_mb = EXCLUDED.max_disk_mb
WHERE s.samples < (SELECT look FROM moment)
"""


def sample() -> None:
    """Look, unless that was done in this slice of ten seconds already."""
    with connection.cursor() as cursor:
        cursor.execute(_SAMPLE, {"alive": ALIVE_FOR.total_seconds()})


def forget_old() -> None:
    QueueSample.objects.filter(at__lt=Now() - KEPT).delete()
