import json
import logging
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import InvalidParams
from jobs.masking import MASK, MaskingFilter, is_secret_key, mask, mask_text, register_secret, secret_for_now
from jobs.payloads import clean_text, storable
from jobs.sealing import PREFIX, covered, covered_text, open_all, seal


@pytest.mark.parametrize(
    ("key", "value", "secret"),
    [
        ("password", "x", True),
        ("dbPassword", 1234, True),
        ("client_secret", "x", True),
        ("API-Key", "x", True),
        ("apiKey", "x", True),
        ("Authorization", "x", True),
        ("Set-Cookie", ["x"], True),
        ("github_token", "x", True),
        ("token", {"a": 1}, True),
        ("max_tokens", 4000, False),
        ("token_count", 4000, False),
        ("tokens", 12, False),
        ("key", "x", False),
        ("keyboard", "x", False),
        ("author", "x", False),
        ("secretary", "x", False),
        ("passage", "x", False),
    ],
)
def test_a_name_says_whether_what_stands_under_it_is_secret(key, value, secret):
    assert is_secret_key(key, value) is secret


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Authorization: Bearer abcdef0123456789", "abcdef0123456789"),
        ("basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA"),
        ("postgres://me:hunter2@db/x", "hunter2"),
        ("password=hunter2, user=me", "hunter2"),
        ("{'api_key': 'hunter2 with spaces'}", "hunter2"),
        ('{"client_secret":"hunter2"}', "hunter2"),
        ("token eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.c2lnbmF0dXJl", "eyJzdWIiOiIxMjM0"),
        ("ghp_0123456789abcdefghijABCDEFGHIJ", "0123456789abcdefghij"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----", "MIIEow"),
        ("Cookie: sessionid=abcdefghijk", "abcdefghijk"),
    ],
)
def test_what_looks_like_a_secret_in_a_text_is_covered(text, left):
    assert left not in mask_text(text)
    assert MASK in mask_text(text)


@pytest.mark.parametrize("text", ["step 3 of 7", "see https://a.example/x", "the token was refused", "user=me, key=7", ""])
def test_a_text_without_secrets_stays_as_it_is(text):
    assert mask_text(text) == text


def test_a_registered_value_is_covered_wherever_it_stands_and_before_the_cut():
    with secret_for_now(['pa"ss/word-9']):
        assert mask_text('it is pa"ss/word-9!') == f"it is {MASK}!"
        assert mask_text(json.dumps({"x": 'pa"ss/word-9'})) == json.dumps({"x": MASK})
        assert "pa%22ss" not in mask_text("https://a.example/?q=pa%22ss%2Fword-9")
        assert "pa" not in clean_text("1234567 " + 'pa"ss/word-9', 12)
        assert mask({"a": ['pa"ss/word-9']}) == {"a": [MASK]}
    assert mask_text('pa"ss/word-9') == 'pa"ss/word-9'


def test_a_value_that_two_have_registered_stays_covered_until_both_have_let_go():
    register_secret("held-by-all")
    with secret_for_now(["held-by-all"]):
        pass
    assert mask_text("held-by-all") == MASK


def test_a_result_is_stored_with_its_secrets_covered_and_says_that_it_was_changed():
    kept, changed = storable({"password": "hunter2", "max_tokens": 5, "log": "token=abcdefgh"}, max_bytes=1000)
    assert kept == {"password": MASK, "max_tokens": 5, "log": f"token={MASK}"}
    assert changed


def test_too_large_a_result_shows_no_secret_in_its_preview():
    kept, _ = storable({"password": "hunter2", "x": "y" * 5000}, max_bytes=1000)
    assert kept["truncated"]
    assert "hunter2" not in json.dumps(kept)


def test_masking_takes_no_time_whatever_the_text():
    began = time.monotonic()
    for part in ("a1", "token:", "://", "eyJ", "basic ", "-----BEGIN PRIVATE KEY-----", "password='"):
        text = part * (100_000 // len(part))
        mask_text(text)
    assert time.monotonic() - began < 20


def test_a_log_record_is_masked_with_its_traceback():
    try:
        raise ValueError("password=hunter2")
    except ValueError as error:
        record = logging.LogRecord(
            "x", logging.ERROR, "f", 1, "token: %s", ("abcdefgh",), (type(error), error, error.__traceback__)
        )
    MaskingFilter().filter(record)
    shown = logging.Formatter().format(record)
    assert "hunter2" not in shown
    assert "abcdefgh" not in shown
    assert "ValueError" in shown


texts = st.text(st.characters(codec="utf-8"))
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts | st.sampled_from(["password", "token"]), inner),
    max_leaves=15,
)


@given(st.dictionaries(st.sampled_from(["a", "password", "apiKey"]), anything))
def test_what_was_sealed_opens_to_what_it_was(params):
    sealed = seal(params)
    assert open_all(sealed)[0] == params
    if params.get("password"):
        assert sealed["password"].startswith(PREFIX)
        assert covered(sealed)["password"] == MASK
    assert PREFIX not in covered_text(json.dumps(sealed)[:200])


def test_a_text_that_only_looks_sealed_reaches_the_tool_as_it_was_sent():
    params = {"a": f"{PREFIX}gAAAAA"}
    assert open_all(seal(params))[0] == params


def test_params_sealed_with_a_key_that_is_lost_are_refused_in_words_and_an_older_key_still_opens(settings):
    sealed = seal({"password": "hunter2"})
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another"
    assert open_all(sealed) == ({"password": "hunter2"}, ["hunter2"])
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(InvalidParams, match="SECRET_KEY"):
        open_all(sealed)
