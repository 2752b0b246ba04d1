import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.failures import fingerprint, normalised, place_of


def raised(act):
    try:
        act()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("row 17 of 4000 is bad", "row 9 of 12 is bad"),
        ("cannot open /srv/a/1.txt", "cannot open /tmp/b.txt"),
        ("no answer from https://a.example/x?y=1 in 3.5 s", "no answer from https://b.example/ in 12 s"),
        ("user 'ann' is unknown", "user 'bob' is unknown"),
        ("job codemap-1x9f44kk2 failed", "job codemap-9k1abc77q failed"),
        ("at 2026-11-24T10:00:00Z", "at 2025-01-01 09:30:00+01:00"),
        ("<object at 0x7f3a>", "<object at 0x99>"),
        ("id 6f1c2b7e-1111-4222-8333-444455556666", "id 00000000-1111-4222-8333-44445555aaaa"),
        ("broken\nline two", "broken\nanother"),
    ],
)
def test_failures_that_differ_only_in_detail_are_alike(one, other):
    assert normalised(one) == normalised(other)
    assert fingerprint("E", one, "m:f") == fingerprint("E", other, "m:f")


def test_another_class_message_or_place_is_another_failure():
    prints = {
        fingerprint("E", "disk is full", "m:f"),
        fingerprint("F", "disk is full", "m:f"),
        fingerprint("E", "disk is slow", "m:f"),
        fingerprint("E", "disk is full", "m:g"),
    }
    assert len(prints) == 4


@given(st.text(), st.integers(0, 10**12), st.integers(0, 10**12))
def test_numbers_never_tell_failures_apart(text, one, other):
    assert normalised(f"{text} {one} left") == normalised(f"{text} {other} left")


@given(st.text(max_size=3000))
def test_a_normalised_message_is_short_and_one_line(text):
    assert len(normalised(text)) <= 300
    assert "\n" not in normalised(text)


def test_normalising_takes_no_time_whatever_the_text():
    for text in ("a1" * 50_000, "/a" * 50_000, "'" * 100_000, "1." * 50_000, "a-" * 50_000 + "1"):
        normalised(text)  # the time limit of the test is the assertion


def test_the_place_is_in_the_own_code_not_in_the_library_that_raised():
    assert place_of(raised(lambda: json.loads("{"))).startswith("tests.rules.test_failures:")
    assert place_of(ValueError("never raised")) == ""
