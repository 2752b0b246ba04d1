"""What people type in."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from jobs import payloads, tokens, tools
from jobs.errors import Refused
from jobs.payloads import Json
from jobs.states import Priority


class SubmitForm(forms.Form):
    """What is said about a job besides its params."""

    priority = forms.ChoiceField(
        label=_("Priority"),
        choices=Priority.choices,
        initial=Priority.MEDIUM,
        widget=forms.Select(attrs={"class": "form-select"}),
    )


class ParamsForm(forms.Form):
    """Params as one JSON object, for what no form can be drawn of, and for who prefers to paste."""

    params = forms.CharField(
        label=_("Params (JSON)"), widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false", "class": "form-control mono"})
    )

    def clean_params(self) -> dict[str, Any]:
        try:
            params = payloads.read(self.cleaned_data["params"], what="this", max_bytes=settings.MAX_PAYLOAD)
        except Refused as refusal:
            raise forms.ValidationError(str(refusal)[:300]) from None
        if not isinstance(params, dict):
            raise forms.ValidationError(_('Params are a JSON object, for example {"package": "email"}'))
        return params

    @property
    def values(self) -> dict[str, Json]:
        params: dict[str, Json] = self.cleaned_data["params"]
        return params


class TokenForm(forms.Form):
    """A token for a program; its name and scopes are checked again when it is made."""

    name = forms.CharField(label=_("Name"), max_length=100)
    days = forms.IntegerField(label=_("Days"), required=False, min_value=1, max_value=36_500)
    scopes = forms.MultipleChoiceField(
        label=_("Scopes"), choices=[(scope, tokens.MEANINGS[scope]) for scope in tokens.SCOPES], initial=tokens.DEFAULT_SCOPES
    )


def example_params(tool: tools.Tool) -> dict[str, Json]:
    """A first draft of the params, made from the schema: the required fields, each empty."""
    if tool.name == "codemap":
        return {"package": "email"}
    schema = tool.params.model_json_schema()
    empty: dict[str, Json] = {"string": "", "integer": 0, "number": 0, "boolean": False, "array": [], "object": {}}
    fields = schema.get("properties", {})
    return {name: empty.get(fields[name].get("type", "")) for name in schema.get("required", []) if name in fields}
