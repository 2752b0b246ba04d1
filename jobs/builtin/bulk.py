"""Tool `jobs.bulk`: one action on all jobs that a search finds, or on chosen ones. The page orders it; nobody else can.

The order is signed when it is given, by somebody who was allowed to: whoever hands in such a job with an order of his own making,
or with one that was changed, is refused before it is taken in.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Literal, Self

from django.core.signing import Signer
from pydantic import BaseModel, ConfigDict, Field, model_validator

from jobs import audit, lifecycle
from jobs.errors import NotFound, Refused
from jobs.models import Job
from jobs.retry import Retry
from jobs.search import Search, Term, matching, read, walk
from jobs.sight import Sight
from jobs.states import FINAL, Priority, Status
from jobs.tools import JobContext, tool

NAME = "jobs.bulk"
Action = Literal["retry", "cancel", "priority", "delete"]
# From which statuses each action leads anywhere.
CAN: dict[str, tuple[Status, ...]] = {
    "retry": (Status.FAILED, Status.CANCELLED),
    "cancel": (Status.PENDING, Status.RUNNING),
    "priority": (Status.PENDING,),
    "delete": (Status.PENDING, *sorted(FINAL)),
}
MOST_CHOSEN = 500
MOST_NAMED = 20


class Order(BaseModel):
    """What is to be done, by whose wish, as far as this person sees. `ids` empty: all that the search finds."""

    model_config = ConfigDict(extra="forbid")

    action: Action
    query: str = ""
    ids: list[str] = Field(default=[], max_length=MOST_CHOSEN)
    priority: Priority | None = None
    before: datetime = Field(description="Jobs that came later are left alone.")
    expected: int = Field(default=0, ge=0, description="How many there were when it was ordered.")
    by: str
    projects: list[str] | None = None
    signature: str = ""

    @model_validator(mode="after")
    def _as_ordered(self) -> Self:
        if self.signature != _signature(self):
            raise ValueError("a bulk action is ordered on the page of the job list")
        if (self.priority is None) == (self.action == "priority"):
            raise ValueError("a priority belongs to the action that gives one")
        return self

    @property
    def sight(self) -> Sight:
        return Sight(projects=None if self.projects is None else frozenset(self.projects))


def signed(**wanted: Any) -> dict[str, Any]:
    """Params for a job of this tool. The caller has made sure that `by` may do it."""
    draft = Order.model_construct(**Order.model_construct(**wanted).model_dump())
    return Order(**(draft.model_dump() | {"signature": _signature(draft)})).model_dump(mode="json")


def _signature(order: Order) -> str:
    said = order.model_dump(mode="json", exclude={"signature"})
    return Signer(salt=NAME).signature(json.dumps(said, sort_keys=True))


def eligible(search: Search, action: str) -> Search:
    """Of what a search finds, what the action can do anything to."""
    return Search(terms=(*search.terms, Term(key="status", values=tuple(CAN[action]))))


@tool(NAME, params=Order, timeout=6 * 3600, retry=Retry(max=3))
def bulk(params: Order, job: JobContext) -> dict[str, Any]:
    """Retry, cancel, prioritise or delete many jobs, as ordered on the page."""
    verb, counts, refused = _verb(params), Counter[str](), Counter[str]()
    named: list[str] = []
    for job_id in _ids(params, job.id):
        seen = sum(counts.values())
        job.progress(
            min(99.0, 100 * seen / max(1, params.expected)), f"{seen} of about {params.expected} jobs", stage=params.action
        )
        try:
            counts["done" if verb(job_id) else "unchanged"] += 1
        except NotFound:
            counts["gone"] += 1
        except Refused as refusal:
            counts["refused"] += 1
            refused[str(refusal).replace(job_id, "…")] += 1
            if len(named) < MOST_NAMED:
                named.append(job_id)
                job.diagnostic(f"{job_id}: {refusal}")
    result = {"action": params.action, **{name: counts[name] for name in ("done", "unchanged", "gone", "refused")}}
    audit.note(f"bulk {params.action} done", f"job {job.id}", by=params.by, after=result)
    return result | {"reasons": dict(refused.most_common(20)), "firstRefused": named}


def _ids(order: Order, own: str) -> Iterator[str]:
    search = eligible(read(order.query), order.action)
    if order.ids:
        pages: Iterator[list[str]] = (
            [found.pk for found in matching(search, order.sight, order.ids[first : first + 100])]
            for first in range(0, len(order.ids), 100)
        )
    else:
        pages = walk(search, order.sight, before=order.before)
    return (job_id for ids in pages for job_id in ids if job_id != own)


def _verb(order: Order) -> Callable[[str], bool]:
    """True: something was changed."""
    match order.action:
        case "retry":
            return lambda job_id: bool(lifecycle.retry(job_id, by=order.by))
        case "cancel":
            return lambda job_id: _was_cancelled(lifecycle.cancel(job_id, by=order.by))
        case "priority":
            wanted = order.priority or Priority.MEDIUM
            return lambda job_id: bool(lifecycle.reprioritise(job_id, wanted, by=order.by))
        case "delete":
            return lambda job_id: _deleted(job_id, order.by)


def _deleted(job_id: str, by: str) -> bool:
    lifecycle.delete(job_id, by=by)
    return True


def _was_cancelled(job: Job) -> bool:
    return job.status == Status.CANCELLED or job.cancel_requested_at is not None
