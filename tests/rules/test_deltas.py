from hypothesis import given
from hypothesis import strategies as st

from jobs.deltas import checked, merge, version_of

FINAL = {"completed", "failed", "cancelled"}


def delta(version, tick, status):
    """A full report of a move for a status, else a progress report."""
    made = {
        "id": "j",
        "v": [version, tick],
        "progress": float(tick),
        "message": f"{version}.{tick}",
        "diagnostics": [f"{version}.{tick}"],
    }
    return made | ({"status": status} if status else {})


reports = st.lists(
    st.builds(delta, st.integers(1, 4), st.integers(0, 4), st.sampled_from([None, "pending", "running", "completed", "failed"])),
    min_size=1,
    max_size=12,
)


@given(reports)
def test_merging_never_goes_backwards_and_ends_at_the_newest(news):
    kept = None
    for item in news:
        before = kept
        kept = merge(kept, item)
        if before is not None:
            assert version_of(kept) >= version_of(before)
    newest = max(tuple(item["v"]) for item in news)
    assert version_of(kept)[0] == newest[0]


@given(reports)
def test_no_line_of_diagnostics_is_lost(news):
    kept = None
    for item in news:
        kept = merge(kept, item)
    assert sorted(kept["diagnostics"]) == sorted(line for item in news for line in item["diagnostics"])


def test_a_late_progress_report_does_not_undo_a_final_status():
    done = delta(3, 5, "completed")
    assert merge(done, delta(2, 9, None))["status"] == "completed"
    assert merge(delta(2, 9, None), done)["status"] == "completed"


def test_what_is_no_delta_is_dropped():
    for item in (
        None,
        1,
        [],
        {},
        {"id": 1, "v": [1, 1]},
        {"id": "a", "v": "x"},
        {"id": "a", "v": [1]},
        {"id": "a", "v": [1, None]},
    ):
        assert checked(item) is None
