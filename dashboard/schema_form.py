"""A form drawn from JSON Schema: what a tool takes, or what a job asks. The schema itself is held by whoever takes the values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django import forms
from django.conf import settings
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from jobs import payloads, sealing
from jobs.errors import Refused
from jobs.payloads import Json

Schema = Mapping[str, Any]
# More than so many fields are no form any more, but a document.
MOST_FIELDS = 40
_CONTROL = {"class": "form-control", "autocomplete": "off"}


class JsonField(forms.CharField):
    """A list, an object, or anything else that no plain field can hold. Text of something else than JSON is refused."""

    widget = forms.Textarea

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        return _parsed(text) if text else None


def _parsed(text: str) -> Json:
    try:
        return payloads.read(text, what="this", max_bytes=settings.MAX_PAYLOAD)
    except Refused as refusal:
        raise forms.ValidationError(str(refusal)[:300]) from None


class SchemaForm(forms.Form):
    """A field for each property, which begins with its value of `first`, else with its default.

    `values` are those said; an optional field that was left empty is not.
    """

    def __init__(
        self, schema: Schema, data: QueryDict | None = None, *, first: Mapping[str, Json] | None = None, prefix: str = "p"
    ) -> None:
        super().__init__(data, prefix=prefix)
        required, known = set(schema.get("required", ())), first or {}
        for name, drawn in schema.get("properties", {}).items():
            self.fields[name] = _field(name, _plain(drawn, schema), required=name in required, initial=known.get(name))

    @property
    def values(self) -> dict[str, Json]:
        said = self.cleaned_data
        return {name: said[name] for name, field in self.fields.items() if field.required or said[name] not in (None, "")}


def can_draw(schema: Schema, values: Mapping[str, Json]) -> bool:
    """Is everything that may be said, and these values, sayable by a form?"""
    fields = schema.get("properties", {})
    open_ended = bool(schema.get("additionalProperties")) and not fields
    return not open_ended and len(fields) <= MOST_FIELDS and values.keys() <= fields.keys()


def _plain(drawn: Schema, whole: Schema) -> Schema:
    """Without references, and without the null that an optional value may be."""
    if "$ref" in drawn:
        drawn = {**whole.get("$defs", {}).get(str(drawn["$ref"]).rpartition("/")[2], {}), **drawn}
    choices = [choice for choice in drawn.get("anyOf", ()) if choice.get("type") != "null"]
    return {**_plain(choices[0], whole), **drawn} if len(choices) == 1 else drawn


def _field(name: str, drawn: Schema, *, required: bool, initial: Any) -> forms.Field:
    default = drawn.get("default")
    common: dict[str, Any] = {
        "label": name,
        "required": required,
        "help_text": drawn.get("description", ""),
        "initial": default if initial is None else initial,
    }
    options = drawn["enum"] if "enum" in drawn else [drawn["const"]] if "const" in drawn else None
    if options is not None:
        return _choice(options, common)
    match drawn.get("type"):
        case "boolean":
            box = forms.CheckboxInput(attrs={"class": "form-check-input"})
            return forms.BooleanField(**common | {"required": False}, widget=box)
        case "integer" | "number" as kind:
            made = forms.IntegerField if kind == "integer" else forms.FloatField
            bounds: dict[str, Any] = {"min_value": drawn.get("minimum"), "max_value": drawn.get("maximum")}
            return made(**common, **bounds, widget=forms.TextInput(attrs=_CONTROL | {"inputmode": "decimal"}))
        case "string":
            return _text(drawn, common)
    return JsonField(**common, widget=forms.Textarea(attrs=_CONTROL | {"rows": 2, "spellcheck": "false"}))


def _choice(options: list[Json], common: dict[str, Any]) -> forms.Field:
    """The choices keep their types on the way through the form."""
    choices = [(json.dumps(option), option) for option in options]
    initial = common["initial"]
    return forms.TypedChoiceField(
        **common | {"initial": None if initial is None else json.dumps(initial)},
        choices=choices if common["required"] else [("", _("(nothing)")), *choices],
        coerce=json.loads,
        empty_value=None,
        widget=forms.Select(attrs={"class": "form-select"}),
    )


def _text(drawn: Schema, common: dict[str, Any]) -> forms.Field:
    initial = common["initial"]
    if drawn.get("writeOnly") or drawn.get("format") == "password":
        # What is sealed may stand in the page: nobody can read it there.
        sealed = isinstance(initial, str) and initial.startswith(sealing.PREFIX)
        widget: forms.Widget = forms.PasswordInput(attrs=_CONTROL | {"autocomplete": "new-password"}, render_value=sealed)
    elif isinstance(initial, str) and "\n" in initial:
        widget = forms.Textarea(attrs=_CONTROL | {"rows": 4})
    else:
        widget = forms.TextInput(attrs=_CONTROL)
    lengths: dict[str, Any] = {"min_length": drawn.get("minLength"), "max_length": drawn.get("maxLength")}
    return forms.CharField(**common, **lengths, strip=False, widget=widget)
