"""The forms of the queue's page: its configuration, and the limits and pauses of groups."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from jobs.errors import Refused
from jobs.limits import GroupKind
from jobs.models import QueueConfig
from jobs.states import Operation, Priority

# Name, label and unit, in the order of the page.
ROOM = (
    ("max_concurrent_jobs", _("Slots"), ""),
    ("max_memory_mb", _("Memory"), "MB"),
    ("max_cpu_weight", _("CPU weight"), ""),
    ("max_disk_mb", _("Disk"), "MB"),
)
RETRIES = (
    ("max_retries", _("Retries"), ""),
    ("initial_delay_ms", _("First delay"), "ms"),
    ("backoff_multiplier", _("Times more each"), ""),
    ("max_delay_ms", _("Longest delay"), "ms"),
)
TIMES = (("default_timeout_ms", _("Time-out, if not by operation"), "ms"),)


class ConfigForm(forms.Form):
    """All of JobQueueConfig. What the numbers may be is checked where every change of them is: by jobs.steering."""

    version = forms.IntegerField(widget=forms.HiddenInput)

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        for name, label, unit in (*ROOM, *RETRIES, *TIMES):
            whole = isinstance(QueueConfig._meta.get_field(name), forms.IntegerField) or name not in FRACTIONS
            self.fields[name] = _number(f"{label} ({unit})" if unit else label, whole=whole)
        for priority in reversed(Priority):
            self.fields[f"weight_{priority}"] = _number(priority.label, whole=False)
        for operation in Operation:
            self.fields[f"timeout_{operation}"] = _number(f"{operation.label} (ms)", whole=True, required=False)
        self.fields["operation_retries"] = forms.JSONField(label=_("Retries by operation (JSON)"), required=False)

    @staticmethod
    def first(config: QueueConfig) -> dict[str, Any]:
        """What the form shows before anybody typed."""
        values: dict[str, Any] = {name: getattr(config, name) for name, _, _ in (*ROOM, *RETRIES, *TIMES)}
        values |= {f"weight_{name}": weight for name, weight in config.priority_weights.items()}
        values |= {f"timeout_{name}": ms for name, ms in config.operation_timeouts.items()}
        return values | {"operation_retries": config.operation_retries, "version": config.version}

    def changes(self) -> dict[str, Any]:
        """The columns, as jobs.steering.configure takes them."""
        given = self.cleaned_data
        columns = {name: given[name] for name, _, _ in (*ROOM, *RETRIES, *TIMES)}
        columns["priority_weights"] = {str(p): given[f"weight_{p}"] for p in Priority}
        timeouts = {str(o): given[f"timeout_{o}"] for o in Operation}
        columns["operation_timeouts"] = {name: ms for name, ms in timeouts.items() if ms is not None}
        return columns | {"operation_retries": given["operation_retries"] or {}}

    def refuse(self, error: Refused) -> None:
        """Put what was refused at its fields."""
        for problem in error.problems:
            column = problem.pointer.strip("/").split("/")[0]
            field = {"priority_weights": "weight_critical", "operation_timeouts": "timeout_decomposition"}.get(column, column)
            self.add_error(field if field in self.fields else None, problem.detail)
        if not error.problems:
            self.add_error(None, str(error))

    def part(self, names: list[str]) -> list[forms.BoundField]:
        return [self[name] for name in names]

    def groups(self) -> list[tuple[Any, list[forms.BoundField]]]:
        """The fields under their headings."""
        return [
            (_("What may be in use at once"), self.part([name for name, _, _ in ROOM])),
            (_("When an attempt fails"), self.part([name for name, _, _ in RETRIES])),
            (_("Head start: ten minutes a point"), self.part([f"weight_{p}" for p in reversed(Priority)])),
            (_("How long a run may take"), self.part([TIMES[0][0], *(f"timeout_{o}" for o in Operation)])),
        ]


FRACTIONS = {"max_cpu_weight", "backoff_multiplier"}


def _number(label: Any, *, whole: bool, required: bool = True) -> forms.Field:
    attributes = {"class": "form-control", "inputmode": "decimal", "autocomplete": "off"}
    if whole:
        return forms.IntegerField(label=label, required=required, widget=forms.TextInput(attrs=attributes))
    return forms.FloatField(label=label, required=required, widget=forms.TextInput(attrs=attributes))


class GroupForm(forms.Form):
    """Which jobs, and what holds for them."""

    kind = forms.ChoiceField(label=_("Jobs of"), choices=GroupKind.choices, initial=GroupKind.TOOL)
    name = forms.CharField(label=_("Name"), required=False, max_length=100)
    reason = forms.CharField(label=_("Why"), required=False, max_length=500)
    max_running = forms.IntegerField(label=_("At once"), required=False)
    per_minute = forms.IntegerField(label=_("Starts a minute"), required=False)

    @property
    def said(self) -> str:
        """The first thing that is wrong, for a message."""
        return "; ".join(f"{name}: {errors[0]}" for name, errors in self.errors.items())
