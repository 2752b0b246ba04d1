"""The form by which a person gives a pending job other limits; the job's page and the admin show it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from jobs.changes import AS_IT_IS, COLUMNS, Change
from jobs.errors import Refused, RequirementTooLarge
from jobs.models import Job
from jobs.retry import RetryWish

_CONTROL = {"class": "form-control", "autocomplete": "off"}
_NUMBER = _CONTROL | {"inputmode": "decimal"}


def _whole(label: Any, *, required: bool = True) -> forms.Field:
    return forms.IntegerField(label=label, required=required, show_hidden_initial=True, widget=forms.TextInput(attrs=_NUMBER))


def _number(label: Any) -> forms.Field:
    return forms.FloatField(label=label, show_hidden_initial=True, widget=forms.TextInput(attrs=_NUMBER))


def _moment(label: Any) -> forms.Field:
    widget = forms.DateTimeInput(format="%Y-%m-%dT%H:%M:%S", attrs=_CONTROL | {"type": "datetime-local", "step": "1"})
    return forms.DateTimeField(label=label, required=False, show_hidden_initial=True, widget=widget)


class LimitsForm(forms.Form):
    """Its fields are the columns of `jobs.changes`. What was not touched is not said: two may change different things at once.

    What the numbers may be is checked where every change of them is: by the verb.
    """

    memory_mb = _whole(_("Memory (MB)"))
    cpu_weight = _number(_("CPU weight"))
    disk_mb = _whole(_("Disk (MB)"))
    timeout_ms = _whole(_("Time-out (ms)"))
    max_retries = _whole(_("Retries"))
    retry_first_ms = _whole(_("First delay (ms)"))
    retry_factor = _number(_("Times more each"))
    retry_cap_ms = _whole(_("Longest delay (ms)"))
    concurrency_key = forms.CharField(
        label=_("Concurrency key"),
        required=False,
        max_length=100,
        show_hidden_initial=True,
        widget=forms.TextInput(attrs=_CONTROL),
    )
    concurrency_limit = _whole(_("At once of this key"), required=False)
    run_at = _moment(_("Not before (UTC)"))
    expires_at = _moment(_("Of no use after (UTC)"))

    @classmethod
    def of(cls, job: Job, data: Any = None) -> LimitsForm:
        """As the job is now, or with what was typed."""
        first = {name: getattr(job, name) for name in COLUMNS} | {"concurrency_limit": job.concurrency_limit or None}
        return cls(data, initial=first, auto_id="limit_%s")

    def as_change(self) -> Change:
        """Only what is not as the form showed it."""
        said = {name: value for name, value in self.cleaned_data.items() if name in self.changed_data}
        first, cap = said.get("retry_first_ms"), said.get("retry_cap_ms")
        return Change(
            memory_mb=said.get("memory_mb"),
            cpu_weight=said.get("cpu_weight"),
            disk_mb=said.get("disk_mb"),
            timeout_ms=said.get("timeout_ms"),
            retry=RetryWish(
                max=said.get("max_retries"),
                first=None if first is None else first / 1000,
                factor=said.get("retry_factor"),
                cap=None if cap is None else cap / 1000,
            ),
            concurrency_key=said.get("concurrency_key"),
            concurrency_limit=said.get("concurrency_limit"),
            run_at=said.get("run_at", AS_IT_IS),
            expires_at=said.get("expires_at", AS_IT_IS),
        )

    def refuse(self, error: Refused) -> None:
        """Put what was refused at its fields, in the words of the form and with what may be done."""
        fields = {called: name for name, called in COLUMNS.items()}
        remedy = _("Ask for less, or have the limit of the queue raised first.") if isinstance(error, RequirementTooLarge) else ""
        for problem in error.problems:
            called = problem.pointer.strip("/")
            name = fields.get(called)
            said = problem.detail.removeprefix(called).removeprefix(called.rpartition("/")[2]).strip()
            self.add_error(name, f"{said[:1].upper()}{said[1:]}. {remedy}".strip() if name else problem.detail)
        if not error.problems:
            self.add_error(None, str(error))
