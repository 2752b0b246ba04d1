"""The verb that brings a job in line again which asked something: answer."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction
from django.db.models.functions import Now

from jobs import events, questions
from jobs.errors import NotFound
from jobs.lifecycle.rows import OPEN_QUESTION, RETURNED, jobs_from
from jobs.models import AskedQuestion, Job
from jobs.payloads import Json

_ANSWERED = f"""
WITH moved AS (
    UPDATE jobs_job j SET version = version + 1, updated_at = now(),
        gate = CASE WHEN opens THEN 'open' ELSE gate END, gate_since = CASE WHEN opens THEN now() ELSE gate_since END,
        reason = CASE WHEN opens THEN '' ELSE reason END, looks = 0
    FROM (SELECT id, gate = 'input' AND NOT EXISTS ({OPEN_QUESTION}) AS opens FROM jobs_job j WHERE id = %(job)s) was
    WHERE j.id = was.id
    RETURNING {RETURNED}
), noted AS (
    INSERT INTO jobs_event (job_id, verb, before, after, reason, actor, at)
    SELECT id, 'answer', 'pending', 'pending', %(keys)s, %(by)s, now() FROM moved
)
SELECT * FROM moved
"""


def answer(job_id: str, replies: Mapping[str, Json], *, by: str) -> Job:
    """Answer open questions of a pending job, some or all; what was not asked, or was answered already, is left out.

    Raises `NotFound`, or `InvalidRequest` for an answer that does not fit its question, and then none of them counts.
    """
    with transaction.atomic():
        job = Job.objects.select_for_update(no_key=True).defer("params", "result").filter(id=job_id).first()
        if job is None:
            raise NotFound(f"there is no job {job_id!r}")
        if job.status != "pending":
            return job
        given = list(AskedQuestion.objects.filter(job=job, key__in=list(replies), answered_at=None).order_by("id"))
        for question in given:
            said = questions.read(question.key, replies[question.key], question.schema)
            question.answer, question.answered_at, question.answered_by = said.model_dump(mode="json"), Now(), by
        if not given:
            return job
        AskedQuestion.objects.bulk_update(given, ["answer", "answered_at", "answered_by"])
        (moved,) = jobs_from(_ANSWERED, {"job": job_id, "keys": ", ".join(q.key for q in given), "by": by})
        events.announce([events.delta_of(moved)], poke=True)
        return moved
