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


class Names(forms.CharField):
    """Names, one a line, each once."""

    widget = forms.Textarea

    def clean(self, value: Any) -> list[str]:
        names = list(dict.fromkeys(line.strip() for line in super().clean(value).splitlines() if line.strip()))
        if len(names) > MOST_NAMES or any(len(name) > 100 for name in names):
            most = {"most": MOST_NAMES}
            raise forms.ValidationError(_("Write at most %(most)s names, one a line, of at most 100 characters each."), params=most)
        return names


# As over the API.
MOST_NAMES = 100


class TokenForm(forms.Form):
    """A token for a program; its name and scopes are checked again when it is made."""

    name = forms.CharField(label=_("Name"), max_length=100)
    days = forms.IntegerField(label=_("Days"), required=False, min_value=1, max_value=36_500)
    scopes = forms.MultipleChoiceField(
        label=_("Scopes"), choices=[(scope, tokens.MEANINGS[scope]) for scope in tokens.SCOPES], initial=tokens.DEFAULT_SCOPES
    )
    tools = Names(label=_("Tools"), required=False)
    projects = Names(label=_("Projects"), required=False)

    def clean_tools(self) -> list[str]:
        names: list[str] = self.cleaned_data["tools"]
        known = {tool.name for tool in tools.every()}
        if unknown := [name for name in names if name not in known]:
            said = {"name": unknown[0], "known": ", ".join(sorted(known)[:20])}
            raise forms.ValidationError(_("There is no tool %(name)s. Write one of these a line: %(known)s"), params=said)
        return names


def example_params(tool: tools.Tool) -> dict[str, Json]:
    """A first draft of the params, made from the schema: the required fields, each empty."""
    if tool.name == "codemap":
        return {"package": "email"}
    schema = tool.params.model_json_schema()
    empty: dict[str, Json] = {"string": "", "integer": 0, "number": 0, "boolean": False, "array": [], "object": {}}
    fields = schema.get("properties", {})
    return {name: empty.get(fields[name].get("type", "")) for name in schema.get("required", []) if name in fields}
