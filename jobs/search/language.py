"""What people type into the search box, as terms; every fault is said with its place in the text."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from jobs.errors import Problem, Refused
from jobs.payloads import clean_text
from jobs.states import Gate, Operation, Priority, Status

LONGEST = 500
MOST_TERMS = 20


class Kind(StrEnum):
    """What a key compares."""

    CHOICE = "choice"  # one of a few words
    ORDER = "order"  # such words that have an order
    NAME = "name"  # a name; `begin*` is its beginning
    SPAN = "span"  # a length of time, compared
    NUMBER = "number"


@dataclass(frozen=True, kw_only=True)
class Key:
    kind: Kind
    about: str
    choices: tuple[str, ...] = ()


KEYS: dict[str, Key] = {
    "status": Key(kind=Kind.CHOICE, about="where the job is", choices=tuple(Status.values)),
    "tool": Key(kind=Kind.NAME, about="the tool it is for"),
    "project": Key(kind=Kind.NAME, about="its project"),
    "batch": Key(kind=Kind.NAME, about="its batch"),
    "error": Key(kind=Kind.NAME, about="the class of an error it met"),
    "priority": Key(kind=Kind.ORDER, about="its priority", choices=tuple(Priority.values)),
    "operation": Key(kind=Kind.CHOICE, about="its operation type", choices=tuple(Operation.values)),
    "gate": Key(kind=Kind.CHOICE, about="what holds a pending job back", choices=tuple(Gate.values)),
    "worker": Key(kind=Kind.NAME, about="a worker that tried it"),
    "age": Key(kind=Kind.SPAN, about="since it was submitted"),
    "duration": Key(kind=Kind.SPAN, about="how long it ran, or has run"),
    "attempts": Key(kind=Kind.NUMBER, about="how often it was tried"),
    "progress": Key(kind=Kind.NUMBER, about="percent done"),
    "by": Key(kind=Kind.NAME, about="who submitted it"),
    "queue": Key(kind=Kind.NAME, about="the queue of its workers"),
    "key": Key(kind=Kind.NAME, about="its concurrency key"),
    "id": Key(kind=Kind.NAME, about="its id"),
}
PARAMS = "params."
ORDERED = (Kind.ORDER, Kind.SPAN, Kind.NUMBER)
SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}

_WORD = re.compile(
    r"""(?P<minus>-)?(?:(?P<key>[A-Za-z][A-Za-z_]*(?:\.[^\s:"<>=]+)?):)?(?P<op><=|>=|<|>|=)?"""
    r"""(?P<value>(?:"(?:[^"\\]|\\.)*"|[^\s"])*)"""
)
_PART = re.compile(r'"((?:[^"\\]|\\.)*)"|([^",]+)|(,)')
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|min|[smhdw])")
_BARE = re.compile(r'[^\s",\\<>=:-][^\s",\\]*')


@dataclass
class BadSearch(Refused):
    """`start` and `end` are the place of the fault in the text."""

    start: int = 0
    end: int = 0

    code, title = "bad-search", "The search cannot be understood"


@dataclass(frozen=True, kw_only=True)
class Term:
    """One condition. `key` "" is free text. `values` are alternatives."""

    key: str
    values: tuple[str, ...]
    operator: str = "="
    negated: bool = False

    @property
    def path(self) -> list[str]:
        """Of a `params.` key."""
        return self.key.removeprefix(PARAMS).split(".") if self.key.startswith(PARAMS) else []

    @property
    def seconds(self) -> float:
        return seconds_of(self.values[0])

    def __str__(self) -> str:
        sign, values = "-" if self.negated else "", ",".join(quoted(value) for value in self.values)
        return f"{sign}{self.key}:{'' if self.operator == '=' else self.operator}{values}" if self.key else f"{sign}{values}"


@dataclass(frozen=True, kw_only=True)
class Search:
    """All terms must hold. `str()` gives the text again, in one spelling for equal searches."""

    terms: tuple[Term, ...] = ()

    def __str__(self) -> str:
        return " ".join(map(str, self.terms))

    def value(self, key: str) -> str:
        """The value of a key that is asked for plainly; "" otherwise."""
        asked = (t for t in self.terms if t.key == key and not t.negated and t.operator == "=" and len(t.values) == 1)
        return next((term.values[0] for term in asked), "")

    def but(self, key: str, value: str = "") -> Search:
        """The same with this one value of a key, or without the key."""
        kept = tuple(term for term in self.terms if term.key != key)
        return replace(self, terms=(*kept, Term(key=key, values=(value,))) if value else kept)

    def without(self, term: Term) -> Search:
        return replace(self, terms=tuple(other for other in self.terms if other != term))


def read(text: str) -> Search:
    """Raises `BadSearch`, which says what is wrong and where."""
    if len(text) > LONGEST:
        raise BadSearch(f"a search has at most {LONGEST} characters", start=LONGEST, end=len(text))
    terms: list[Term] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        found = _WORD.match(text, at)
        if found is None or found.end() == at or (found.end() < len(text) and not text[found.end()].isspace()):
            raise _bad("a quotation mark is missing", at, len(text))
        terms.append(_term(found))
        at = found.end()
    if len(terms) > MOST_TERMS:
        raise BadSearch(f"a search has at most {MOST_TERMS} terms", end=len(text))
    return Search(terms=tuple(dict.fromkeys(terms)))


def seconds_of(span: str) -> float:
    """ "90s", "1h30m", "2d" in seconds. Raises ValueError."""
    parts = _SPAN.findall(span)
    if not parts or "".join(number + unit for number, unit in parts) != span:
        raise ValueError(span)
    total = sum(float(number) * (0.001 if unit == "ms" else SECONDS[unit]) for number, unit in parts)
    timedelta(seconds=total)
    if total > 100 * 365 * 86400:
        raise ValueError(span)
    return total


def _term(found: re.Match[str]) -> Term:
    key, operator, negated = found["key"] or "", found["op"] or "=", found["minus"] is not None
    start, end = found.span("value")
    if not key:
        # A sign of comparison outside a key is text like any other.
        text = (found["op"] or "") + "".join(_values(found["value"], start, split=False))
        values: tuple[str, ...] = (text,)
        if not values[0]:
            raise _bad("there is nothing to search for", *found.span())
        return Term(key="", values=values, negated=negated)
    known = KEYS.get(key.lower()) if not key.startswith(PARAMS) else Key(kind=Kind.NAME, about="")
    if known is None:
        raise _bad(f"there is no key {key!r}; there are {', '.join(KEYS)} and params.NAME", *found.span("key"))
    values = tuple(_values(found["value"], start, split=True))
    if not values:
        raise _bad(f"after {key}: a value is missing", *found.span())
    if operator != "=" and (known.kind not in ORDERED or len(values) > 1):
        raise _bad(f"{key} cannot be compared by {operator}" if known.kind not in ORDERED else "compare with one value", start, end)
    for value in values:
        if fault := _fault(key, known, operator, value):
            raise _bad(fault, start, end)
    return Term(key=key if key.startswith(PARAMS) else key.lower(), values=values, operator=operator, negated=negated)


def _values(text: str, start: int, *, split: bool) -> list[str]:
    """The alternatives, unquoted."""
    values: list[str] = []
    fresh = True
    for part in _PART.finditer(text):
        quoted, bare, comma = part.groups()
        if comma and split:
            fresh = True
            continue
        piece = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare or comma
        if fresh:
            values.append(piece)
        else:
            values[-1] += piece
        fresh = False
    if any("\x00" in value for value in values):
        raise _bad("a NUL character is in no job", start, start + len(text))
    return [clean_text(value) for value in values]


def _fault(key: str, known: Key, operator: str, value: str) -> str:
    match known.kind:
        case Kind.CHOICE | Kind.ORDER if value not in known.choices:
            return f"there is no {key} {clean_text(value, 40)!r}; there are {', '.join(known.choices)}"
        case Kind.SPAN:
            if operator == "=":
                return f"say {key}:<1h or {key}:>1h"
            try:
                seconds_of(value)
            except (ValueError, OverflowError):
                return f"{clean_text(value, 40)!r} is no length of time; say 30s, 5m, 1h, 2d or 1w"
        case Kind.NUMBER if not re.fullmatch(r"\d{1,9}(\.\d{1,3})?", value):
            return f"{clean_text(value, 40)!r} is no number"
    return ""


def _bad(detail: str, start: int, end: int) -> BadSearch:
    return BadSearch(detail, [Problem(detail=detail, pointer="/q")], start=start, end=end)


def quoted(value: str) -> str:
    return value if _BARE.fullmatch(value) else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
