"""Params from the command line: `key=value`, read as the tool's schema says, or `key:=json`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import typer

from jobsite_client.shapes import Json


def read(pairs: Iterable[str], given: str | None, schema: Mapping[str, Json]) -> dict[str, Json]:
    """All params. `given` is a JSON object, `@file` or `-` for the standard input; pairs win over it. Raises `BadParameter`."""
    params = _object(given) if given is not None else {}
    properties: Mapping[str, Json] = schema.get("properties", {})
    for pair in pairs:
        key, value = _pair(pair, properties)
        params[key] = value
    return params


def _pair(pair: str, properties: Mapping[str, Json]) -> tuple[str, Json]:
    name, equals, text = pair.partition("=")
    if not equals or not name.rstrip(":"):
        raise typer.BadParameter(f"{pair!r} is not key=value")
    if not name.endswith(":"):
        return name, _value(text, properties.get(name, {}))
    try:
        return name[:-1], json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"{pair!r}: what follows := is not JSON ({error})") from None


def _value(text: str, schema: Mapping[str, Json]) -> Json:
    """Text stays text where the schema wants text; elsewhere it is JSON if it can be read so."""
    if schema.get("type") == "string" or "enum" in schema:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _object(given: str) -> dict[str, Json]:
    try:
        value = json.loads(_text(given))
    except ValueError as error:
        raise typer.BadParameter(f"--params is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise typer.BadParameter("--params must be a JSON object")
    return value


def _text(given: str) -> str:
    if given == "-":
        return sys.stdin.read()
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text()
    except OSError as error:
        raise typer.BadParameter(f"--params: {error}") from None
