"""External tools: what programs outside run."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from jobs import audit, catalog
from jobs.admin.base import ReadOnly, pretty
from jobs.models import ExternalTool


@admin.register(ExternalTool)
class ExternalToolAdmin(ReadOnly):
    """They are made and changed over the API, with JSON Schemas; here they are seen and retired."""

    list_display = ("name", "operation", "priority", "timeout_ms", "made_by", "updated_at", "retired_at")
    search_fields = ("name__startswith",)
    exclude = ("params_schema", "result_schema")
    readonly_fields = ("shown_params", "shown_result")
    ordering = ("name",)
    actions = ("retire_tools",)

    def has_retire_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.change_externaltool")

    @admin.display(description="params schema")
    def shown_params(self, tool: ExternalTool) -> SafeString:
        return pretty(tool.params_schema)

    @admin.display(description="result schema")
    def shown_result(self, tool: ExternalTool) -> SafeString:
        return pretty(tool.result_schema)

    @admin.action(description="Retire selected tools: take in no more jobs for them", permissions=["retire"])
    def retire_tools(self, request: HttpRequest, chosen: QuerySet[ExternalTool]) -> None:
        for name in chosen.filter(retired_at=None).values_list("name", flat=True):
            catalog.retire(name)
            audit.note("retire tool", f"tool {name}", by=request.user.get_username())
        self.message_user(request, "Retired. Jobs that are there can still be claimed.")
