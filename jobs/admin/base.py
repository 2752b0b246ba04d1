"""The admin: everything can be read, state moves by lifecycle verbs only, the queue's configuration can be edited."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

from jobs.models import QueueConfig
from jobs.payloads import Json

if TYPE_CHECKING:
    Base = admin.ModelAdmin[Any]
    BaseForm = forms.ModelForm[QueueConfig]
else:
    Base = admin.ModelAdmin
    BaseForm = forms.ModelForm

admin.site.site_header = admin.site.site_title = "Jobsite"
admin.site.index_title = "Administration"

# Counting a million rows takes longer than showing them; nobody pages further than this.
MAX_COUNTED = 10_000
MAX_AT_ONCE = 1_000
MAX_MESSAGES = 20
MAX_SHOWN = 20_000


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # generic in the stubs only
    @cached_property
    def count(self) -> int:
        rows: QuerySet[Model] = self.object_list  # type: ignore[assignment]  # the admin pages querysets only
        return rows[:MAX_COUNTED].count()


class ReadOnly(Base):
    """A model that is looked at. Big tables stay cheap: counts are capped, sorting follows an index, no facets."""

    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()
    list_per_page = 50

    class Media:
        css = {"all": ("css/admin-jobs.css",)}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class OfJob(ReadOnly):
    """Rows that belong to a job: found by its id, which they show as a link without reading the job."""

    search_fields: ClassVar[tuple[str, ...]] = ("job__id__exact",)
    search_help_text = "The id of a job"
    ordering = ("-id",)

    @admin.display(description="job")
    def job_link(self, row: Any) -> SafeString:
        return link_to_job(row.job_id)


def link_to_job(job_id: str) -> SafeString:
    return format_html('<a href="{}">{}</a>', reverse("admin:jobs_job_change", args=[quote(job_id)]), job_id)


def badge(state: str) -> SafeString:
    return format_html('<span class="state state-{}">{}</span>', state, state.replace("_", " "))


def pretty(value: Json) -> SafeString:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    cut = text[:MAX_SHOWN] + ("\n…" if len(text) > MAX_SHOWN else "")
    return format_html('<pre class="json">{}</pre>', cut)
