"""The JSON API. A request passes the door (who? how large?), then its operation: one verb or query, shaped."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from django.urls import URLPattern, URLResolver, re_path
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.openapi.schema import OpenAPISchema

from jobs.api import changes as changes
from jobs.api import (
    door,
    groups,
    history,
    jobs,
    overview,
    problems,
    questions,
    queue,
    runners,
    steering,
    streams,
    tokens,
    tools,
    webhooks,
)
from jobs.api.bodies import OrjsonRenderer, StrictParser
from jobs.api.wire import describe_problems


class Api(NinjaAPI):
    """ninja, with our problems in its OpenAPI document."""

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        document = super().get_openapi_schema(**options)
        describe_problems(document)
        return document


api = Api(
    title="Jobsite",
    version="1",
    description="Hand long work to tools, follow it, steer it.",
    urls_namespace="api",
    # Its page needs inline scripts, which the content security policy forbids.
    docs_url=None,
    parser=StrictParser(),
    renderer=OrjsonRenderer(),
)
# Before those whose names may have slashes in them.
api.add_router("", streams.router)
api.add_router("/jobs", jobs.router)
api.add_router("", runners.router)
api.add_router("/jobs", steering.router)
api.add_router("/jobs", history.router)
api.add_router("/jobs", questions.router)
api.add_router("/bulk", jobs.bulk_router)
api.add_router("/batches", groups.routes("batch", "Batch"))
api.add_router("/projects", groups.routes("project", "Project"))
api.add_router("/queue", queue.router)
api.add_router("/tools", tools.router)
api.add_router("/tokens", tokens.router)
api.add_router("", webhooks.router)
api.add_router("/jobs", webhooks.of_job)
api.add_router("", overview.router)
for kind in (Exception, Http404, HttpError, ValidationError):
    api.add_exception_handler(kind, problems.answer)


def _guarded() -> tuple[list[URLPattern | URLResolver], str, str]:
    patterns, app_name, namespace = api.urls
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            pattern.callback = door.guard(pattern.callback)
    return [*patterns, re_path(r"^(?P<rest>[\s\S]*)$", door.nothing_here)], app_name, namespace


urls = _guarded()
