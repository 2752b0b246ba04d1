"""What people type in."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from jobs import tokens, tools
from jobs.states import Priority


class SubmitForm(forms.Form):
    """A job for any registered tool; the params are JSON, checked by the tool's own schema when it is submitted."""

    params = forms.CharField(label=_("Params (JSON)"), widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false"}))
    priority = forms.ChoiceField(label=_("Priority"), choices=Priority.choices, initial=Priority.MEDIUM)

    def clean_params(self) -> dict[str, Any]:
        try:
            params = json.loads(self.cleaned_data["params"])
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(_("This is not JSON: %(error)s"), params={"error": str(error)[:200]}) from None
        if not isinstance(params, dict):
            raise forms.ValidationError(_('Params are a JSON object, for example {"package": "email"}'))
        return params


class TokenForm(forms.Form):
    """A token for a program; its name and scopes are checked again when it is made."""

    name = forms.CharField(label=_("Name"), max_length=100)
    days = forms.IntegerField(label=_("Days"), required=False, min_value=1, max_value=36_500)
    scopes = forms.MultipleChoiceField(
        label=_("Scopes"), choices=[(scope, tokens.MEANINGS[scope]) for scope in tokens.SCOPES], initial=tokens.DEFAULT_SCOPES
    )


def example_params(tool: tools.Tool) -> str:
    """A first draft of the params, made from the schema: required fields, and optional ones with their defaults."""
    schema = tool.params.model_json_schema()
    empty = {"string": "", "integer": 0, "number": 0, "boolean": False, "array": [], "object": {}}
    draft = {
        name: empty.get(field.get("type", ""))
        for name, field in schema.get("properties", {}).items()
        if name in schema.get("required", [])
    }
    if tool.name == "codemap":
        draft = {"package": "email"}
    return json.dumps(draft, indent=2)
