"""The CallToolResult shape around what a tool returned."""

from __future__ import annotations

import orjson

from jobs.payloads import Json, clean_text, storable

MAX_RESULT = 8 * 1024 * 1024
MAX_RESULT_TEXT = 4000
# What the job's diagnostics then say.
CHANGED = "the result was changed so that it could be stored: see its text for what is left of it"


def call_result(value: Json) -> tuple[Json, bool]:
    """`value` as a result, and whether it had to be changed to be stored. One that has the shape already stays as it is."""
    if isinstance(value, dict) and isinstance(value.get("content"), list) and "isError" in value:
        result, changed = storable(value, max_bytes=MAX_RESULT)
        if not changed:
            return result | {"isError": bool(value["isError"])}, False
    structured, changed = storable(value, max_bytes=MAX_RESULT)
    if structured is not None and not isinstance(structured, dict):
        structured = {"result": structured}
    text = "done" if structured is None else clean_text(orjson.dumps(structured).decode(), MAX_RESULT_TEXT)
    result = {"isError": False, "content": [{"type": "text", "text": text}]}
    return (result if structured is None else result | {"structuredContent": structured}), changed
