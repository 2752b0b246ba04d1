from datetime import timedelta

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from jobs import lifecycle
from jobs.models import Job
from jobs.search import BadSearch, count, find, finding, matching, read, suggest, walk
from jobs.sight import EVERYTHING, Sight
from tests.factories import completed, failed, running, submitted


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", []),
        ("status:failed", [("status", ("failed",), "=", False)]),
        ("status:failed,cancelled", [("status", ("failed", "cancelled"), "=", False)]),
        ("-tool:code*", [("tool", ("code*",), "=", True)]),
        ("age:<1h30m", [("age", ("1h30m",), "<", False)]),
        ("priority:>=high", [("priority", ("high",), ">=", False)]),
        ("attempts:2", [("attempts", ("2",), "=", False)]),
        ('params.a.b:"x y"', [("params.a.b", ("x y",), "=", False)]),
        ('"free text" more', [("", ("free text",), "=", False), ("", ("more",), "=", False)]),
        (r'-"say \"hi\""', [("", ('say "hi"',), "=", True)]),
        ("http://example.org", None),
        ("a<b", [("", ("a<b",), "=", False)]),
        ("<b>", [("", ("<b>",), "=", False)]),
    ],
)
def test_what_is_typed_is_read_as_terms(text, terms):
    if terms is None:
        with pytest.raises(BadSearch):
            read(text)
    else:
        assert [(t.key, t.values, t.operator, t.negated) for t in read(text).terms] == terms


@pytest.mark.parametrize(
    ("text", "words", "place"),
    [
        ("tool:codemap colour:red", "no key 'colour'", "colour"),
        ("status:flying", "pending, running", "flying"),
        ("age:1h", "age:<1h", "1h"),
        ("age:<soon", "no length of time", "soon"),
        ("attempts:many", "no number", "many"),
        ("tool:>x", "cannot be compared", "x"),
        ("status:", "a value is missing", "status:"),
        ('tool:"code', "quotation mark", 'tool:"code'),
        ("x" * 501, "500 characters", "x"),
        (" ".join(f"a{n}" for n in range(21)), "20 terms", ""),
        ("a\x00b", "NUL", "a\x00b"),
    ],
)
def test_a_fault_is_told_with_its_place(text, words, place):
    with pytest.raises(BadSearch, match=words) as told:
        read(text)
    assert text[told.value.start : told.value.end].startswith(place)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_and_reads_the_same_again(text):
    try:
        search = read(text)
    except BadSearch:
        return
    assert read(str(search)) == search


def found(text, sight=EVERYTHING, **how):
    return {job.id for job in find(read(text), sight, **how).jobs}


@pytest.mark.django_db
def test_each_key_finds_what_it_says():
    a = submitted("test.add", id="a", project="PRJ-1", batch="b1", priority="critical", params={"a": 7}, concurrency_key="k")
    b = failed(submitted("test.walk", id="b", project="PRJ-2", params={"steps": 3}))
    c = completed(submitted("test.add", id="c"))
    d = running(submitted("test.walk", id="d", batch="b1")).job
    Job.objects.filter(pk="c").update(created_at=c.created_at - timedelta(days=3))
    every = {job.id for job in (a, b, c, d)}
    for text, ids in {
        "": every,
        "status:failed": {"b"},
        "-status:failed": every - {"b"},
        "status:failed,running": {"b", "d"},
        "tool:test.walk": {"b", "d"},
        "tool:test.w*": {"b", "d"},
        "project:PRJ-1": {"a"},
        "project:PRJ-*": {"a", "b"},
        "batch:b1": {"a", "d"},
        "batch:b1 status:running": {"d"},
        "priority:critical": {"a"},
        "priority:>medium": {"a"},
        "priority:<=medium": {"b", "c", "d"},
        "error:Broken": {"b"},
        "-error:Bro*": every - {"b"},
        "worker:tests:1": {"b", "c", "d"},
        "age:<1h": every - {"c"},
        "age:>1d": {"c"},
        "duration:<1h": {"b", "c", "d"},
        "-duration:<1h": {"a"},
        "attempts:0": {"a"},
        "attempts:>0": {"b", "c", "d"},
        "params.a:7": {"a"},
        "params.steps:3": {"b"},
        "params.nothing:3": set(),
        "key:k": {"a"},
        "id:a": {"a"},
        "broke": {"b"},
        '"it broke"': {"b"},
        "100%": set(),
        "by:tester": every,
    }.items():
        assert found(text) == ids, text


@pytest.mark.django_db
def test_a_window_that_holds_too_few_says_how_far_it_looked_and_its_cursor_goes_on(monkeypatch):
    monkeypatch.setattr(finding, "WINDOW", 10)
    jobs = lifecycle.submit_many([lifecycle.Submission(tool="test.add", params={"a": n % 5}) for n in range(34)], by="t")
    search, seen, cursor, pages = read("params.a:3"), [], "", 0
    while True:
        page = find(search, EVERYTHING, cursor=cursor, size=50)
        seen += [job.id for job in page.jobs]
        pages += 1
        assert (page.looked_back_to is None) == (page.next_cursor == "")
        cursor = page.next_cursor
        if not cursor:
            break
    assert pages == 4
    assert seen == [job.id for job in reversed(jobs) if job.params["a"] == 3]
    assert count(search, EVERYTHING) == (7, True)
    assert [len(ids) for ids in walk(search, EVERYTHING)] == [2, 2, 2, 1]
    assert [len(ids) for ids in walk(read(""), EVERYTHING, before=jobs[4].created_at)] == [5]


@pytest.mark.django_db
def test_nobody_finds_what_he_may_not_see():
    for name in ("A", "B", ""):
        submitted(project=name, batch="b", id=f"in-{name or 'none'}")
    eve = Sight(projects=frozenset("A"))
    for text in ("", "batch:b", "project:B", "project:A", "in-B", "id:in-B"):
        assert found(text, eve) <= {"in-A"}, text
    assert found("", eve) == {"in-A"}
    assert {job.id for job in matching(read(""), eve, ["in-A", "in-B", "in-none", "\x00"])} == {"in-A"}


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["", "status:failed", "tool:test.add", "batch:b", "project:p", "status:failed tool:test.add"])
def test_the_leading_term_is_answered_by_an_index(text):
    window = finding._Window(read(text), EVERYTHING, None)
    sql, values = window.page(51)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
        # What the statistics of a few rows say is chance: only an index in the list's own order needs no sort.
        cursor.execute("SET LOCAL enable_sort = off")
        cursor.execute(f"EXPLAIN {sql}", values)
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "Index Scan using job_newest" in plan, plan


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("st", "status:"),
        ("tool:test.a", "test.add"),
        ("status:fa", "failed"),
        ("status:failed,ca", "cancelled"),
        ("x -pri", "-priority:"),
        ("age:<", "1h"),
        ("batch:b", "b1"),
        ("project:", "PRJ-1"),
        ("error:B", "Broken"),
        ("params", "params."),
    ],
)
def test_keys_and_then_values_are_completed(typed, offered):
    failed(submitted(batch="b1", project="PRJ-1"))
    made = suggest(typed, EVERYTHING)
    assert offered in [one.text for one in made]
    one = next(one for one in made if one.text == offered)
    assert (typed[: one.start] + one.text).startswith(typed[: one.start])
    assert suggest(typed, Sight(projects=frozenset({"other"}))) is not None
