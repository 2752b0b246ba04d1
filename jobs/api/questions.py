"""What a job asks while it waits, and the answers."""

from __future__ import annotations

from typing import Annotated, Any

from django.http import HttpResponse
from ninja import Router
from pydantic import Field

from jobs import lifecycle, queries, sight
from jobs.api.auth import READ, SUBMIT, ApiRequest
from jobs.api.jobs import after
from jobs.api.requests import JobId, Sent
from jobs.api.wire import WIRE
from jobs.schemas import JobStatusMessage, OpenQuestion, Shape, open_question

router = Router(tags=["questions"])


class Questions(Shape):
    questions: list[OpenQuestion]


class Reply(Sent):
    """`content` fits the question's `requestedSchema` when it is accepted."""

    action: Annotated[str, Field(pattern="^(accept|decline|cancel)$")]
    content: dict[str, Any] | None = None


class Answers(Sent):
    """By the key of the question. Some may be left for later."""

    answers: dict[str, Reply]


@router.get("/{job_id}/questions", response=Questions, auth=READ, operation_id="listQuestions", **WIRE)
def questions(request: ApiRequest, job_id: JobId) -> Questions:
    """What the job waits to be told, and has not been told yet."""
    job = sight.find(job_id, request.caller.sight)
    return Questions(questions=[open_question(row) for row in queries.open_questions(job)])


@router.post("/{job_id}/answers", response={202: JobStatusMessage}, auth=SUBMIT, operation_id="answerJob", **WIRE)
def answer(request: ApiRequest, job_id: JobId, response: HttpResponse, wanted: Answers) -> JobStatusMessage:
    """Answer what the job asks; it is in line again when all is answered. Unknown keys are left out."""
    sight.refuse_unseen(job_id, request.caller.sight)
    lifecycle.answer(job_id, {key: said.model_dump() for key, said in wanted.answers.items()}, by=request.caller.name)
    return after(job_id, response)
