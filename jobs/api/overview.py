"""The whole: queue, workers, statistics, and what the types of problems mean."""

from __future__ import annotations

from ninja import Router

from jobs import statistics, workers
from jobs.api import problems
from jobs.api.auth import READ, ApiRequest
from jobs.api.wire import WIRE
from jobs.errors import NotFound
from jobs.events import millis
from jobs.models import Worker
from jobs.schemas import Millis, QueueStatus, Shape, Statistics

router = Router(tags=["overview"])


class WorkerShape(Shape):
    """`slots` is how many jobs it runs at once; `tools` are those that an external worker runs."""

    name: str
    host: str
    slots: int
    queues: list[str]
    tools: list[str] | None = None
    started_at: Millis
    last_beat_at: Millis


class WorkerList(Shape):
    """`dispatcher` says whether one is there to start jobs."""

    workers: list[WorkerShape]
    dispatcher: bool


class ProblemType(Shape):
    type: str
    title: str
    status: int


@router.get("/stats", response=Statistics, auth=READ, operation_id="getStatistics", **WIRE)
def stats(request: ApiRequest) -> Statistics:
    """Totals and averages over the jobs that are kept."""
    return Statistics.model_validate(statistics.statistics(request.caller.sight))


@router.get("/queue", response=QueueStatus, auth=READ, operation_id="getQueueStatus", **WIRE)
def queue(request: ApiRequest) -> QueueStatus:
    """What waits and what runs."""
    return QueueStatus.model_validate(statistics.queue_status(request.caller.sight))


@router.get("/workers", response=WorkerList, auth=READ, operation_id="listWorkers", **WIRE)
def worker_list(request: ApiRequest) -> WorkerList:
    """Celery workers and external workers that gave a sign of life lately."""
    return WorkerList(workers=[_worker(row) for row in workers.alive()], dispatcher=workers.dispatcher_alive())


@router.get("/problems/{code}", response=ProblemType, auth=READ, operation_id="getProblemType", **WIRE)
def problem(request: ApiRequest, code: str) -> ProblemType:
    """What the `type` of a problem means."""
    kind = problems.known().get(code)
    if kind is None:
        raise NotFound("there is no such type of problem")
    return ProblemType(type=problems.TYPES + kind.code, title=kind.title, status=kind.http_status)


def _worker(row: Worker) -> WorkerShape:
    return WorkerShape(
        name=row.name,
        host=row.host,
        slots=row.slots,
        queues=row.queues,
        tools=row.tools or None,
        started_at=millis(row.started_at) or 0,
        last_beat_at=millis(row.beat_at) or 0,
    )
