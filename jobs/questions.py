"""What a tool may ask while its job waits, and what a reply must look like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jsonschema import Draft202012Validator
from pydantic import BaseModel, ConfigDict, ValidationError

from jobs.errors import InvalidRequest, Problem, Stopped
from jobs.payloads import Json, clean_text

MAX_KEY = 100


@dataclass(frozen=True)
class Question:
    """Something only the caller can tell. `answer` has plain fields (text, number, yes or no, a choice): it is shown as a form."""

    message: str
    answer: type[BaseModel]

    def __post_init__(self) -> None:
        for name, field in self.schema["properties"].items():
            if not {"type", "enum", "const"} & field.keys() or field.get("type") == "object":
                raise ValueError(
                    f"{self.answer.__name__}.{name}: a form has plain fields; use a default where nothing need be said"
                )

    @property
    def schema(self) -> dict[str, Any]:
        """As JSON Schema: an object of plain properties."""
        made = self.answer.model_json_schema()
        return {"type": "object", "properties": made.get("properties", {}), "required": made.get("required", [])}


class InputNeeded(Stopped):
    """The tool asks what nobody has answered yet."""

    def __init__(self, questions: Mapping[str, Question]) -> None:
        super().__init__(f"asks for {', '.join(questions)}")
        self.questions = questions


class Reply(BaseModel):
    """What was said: `content` fits the question when it was accepted."""

    model_config = ConfigDict(extra="ignore")

    action: Literal["accept", "decline", "cancel"]
    content: dict[str, Any] | None = None

    def for_tool(self, question: Question) -> BaseModel | None:
        """None: nobody wanted to say."""
        return question.answer.model_validate(self.content or {}) if self.action == "accept" else None


def read(key: str, reply: Json, schema: Mapping[str, Any]) -> Reply:
    """Raises `InvalidRequest`, with a pointer, when the reply does not fit the question's schema."""
    try:
        said = Reply.model_validate(reply)
    except ValidationError as error:
        raise _unfit(key, error.errors()[0]["msg"]) from None
    if said.action == "accept":
        fault = next(Draft202012Validator(schema).iter_errors(said.content or {}), None)
        if fault is not None:
            raise _unfit("/".join([key, "content", *map(str, fault.absolute_path)]), fault.message)
    return said


def _unfit(where: str, detail: str) -> InvalidRequest:
    where, detail = clean_text(where, 200), clean_text(detail, 300)
    return InvalidRequest(f"the answer does not fit the question: {where}: {detail}", [Problem(detail=detail, pointer=f"/{where}")])
