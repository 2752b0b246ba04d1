import re
from pathlib import Path

from jobs.states import ATTEMPT_MOVES, FINAL, JOB_MOVES, Status

CHART = Path(__file__).parents[2] / "docs" / "lifecycle.md"


def drawn(heading):
    """The moves in the mermaid chart below `heading`: {(from, verb, to)}."""
    section = CHART.read_text().split(f"## {heading}")[1].split("\n## ")[0]
    return set(re.findall(r"^ *(\[\*\]|\w+) --> (?!\[\*\])(\w+) ?: ?(\w+)$", section, re.M))


def listed(moves):
    return {
        ("[*]" if before is None else str(before), str(after), verb)
        for verb, table in moves.items()
        for before, results in table.items()
        for after in results
    }


def test_the_chart_of_jobs_shows_exactly_the_legal_moves():
    assert drawn("Jobs") == listed(JOB_MOVES)


def test_the_chart_of_attempts_shows_exactly_the_legal_moves():
    assert drawn("Attempts") == listed(ATTEMPT_MOVES)


def test_only_a_retry_leads_out_of_a_final_status():
    assert {verb for verb, table in JOB_MOVES.items() for before in table if before in FINAL} == {"retry"}


def test_every_status_can_be_reached():
    assert {after for table in JOB_MOVES.values() for results in table.values() for after in results} == set(Status)
