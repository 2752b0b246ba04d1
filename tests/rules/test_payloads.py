import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import InvalidRequest, PayloadTooLarge
from jobs.payloads import check, shown, storable

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary() | st.builds(object),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()) | st.integers(), inner) | st.sets(st.integers()),
    max_leaves=20,
)


@given(anything)
def test_whatever_a_tool_returns_becomes_json_that_the_door_would_take(value):
    kept, _ = storable(value, max_bytes=10_000)
    check(kept, what="it", max_bytes=10_000)
    json.dumps(kept, allow_nan=False).encode()


def test_storable_values_are_left_alone():
    value = {"a": [1, 2.5, None, True, "text"], "b": {"c": "ü"}}
    assert storable(value, max_bytes=1000) == (value, False)


def test_too_large_a_result_is_cut_and_flagged():
    kept, changed = storable({"x": "y" * 5000}, max_bytes=1000)
    assert changed
    assert kept["truncated"] is True


def deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (float("nan"), "NaN"),
        ({"a": float("inf")}, "NaN and infinities"),
        ({"a": "x\x00"}, "NUL"),
        ({"\x00": 1}, "NUL"),
        (["\ud800"], "surrogate"),
        (2**64, "64 bits"),
        (deep(200), "deeper"),
        ({1: 2}, "keys must be text"),
        (b"x", "bytes is not a JSON type"),
    ],
)
def test_what_cannot_be_stored_is_refused_with_its_reason(value, words):
    with pytest.raises(InvalidRequest, match=words):
        check(value, what="params", max_bytes=1000)


def test_too_large_params_are_refused():
    with pytest.raises(PayloadTooLarge, match="at most 1000"):
        check("x" * 2000, what="params", max_bytes=1000)


def test_a_pointer_names_the_place_of_the_fault():
    with pytest.raises(InvalidRequest) as refused:
        check({"a/b": [1, {"c": float("nan")}]}, what="params", max_bytes=1000)
    assert refused.value.problems[0].pointer == "/a~1b/1/c"


def test_a_value_whose_text_raises_is_shown_by_its_type():
    class Bad:
        def __str__(self):
            raise RuntimeError

    assert shown(Bad()) == "<Bad that cannot be shown: RuntimeError>"
