"""House rules that no linter knows."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PRODUCT = [
    path
    for room in ("jobs", "dashboard", "jobsite", "client/jobsite_client")
    for path in sorted((ROOT / room).rglob("*.py"))
    if "migrations" not in path.parts
]
# What only the lifecycle may write. `looks` and `last_look_at` are no state: jobs/looks.py counts polls in them.
STATE = {
    "status",
    "state",
    "gate",
    "current_attempt",
    "current_attempt_id",
    "attempt_count",
    "retry_count",
    "loss_count",
    "version",
}
STATEFUL_SQL = re.compile(r"\b(UPDATE|INSERT INTO|DELETE FROM)\s+jobs_(job|attempt|event|dependency)\b")
STATEFUL_MODELS = {"Job", "TaskJob", "Attempt", "Event", "Dependency"}
# Builds an unsaved Job for the lifecycle to insert.
MAY_BUILD = {"jobs/submission.py"}


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def writes_of(tree):
    """(line, what) of everything that would write job or attempt state."""
    # A wire shape may be called TaskJob too; what counts is where the name comes from.
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "jobs.models"
        for alias in node.names
    } & STATEFUL_MODELS
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and STATEFUL_SQL.search(node.value):
            yield node.lineno, "SQL that writes state"
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in imported:
            yield node.lineno, f"makes a {node.func.id}"
        if isinstance(node.func, ast.Attribute):
            named = {keyword.arg for keyword in node.keywords}
            if node.func.attr == "update" and named & STATE:
                yield node.lineno, f"updates {sorted(named & STATE)}"
            if node.func.attr in {"create", "bulk_create", "bulk_update", "delete"} and any(
                isinstance(n, ast.Name) and n.id in imported for n in ast.walk(node.func)
            ):
                yield node.lineno, f"calls {node.func.attr}"


@pytest.mark.parametrize("path", PRODUCT, ids=name_of)
def test_job_and_attempt_state_is_written_only_by_the_lifecycle(path):
    if path.parent.name == "lifecycle":
        return
    found = list(writes_of(ast.parse(path.read_text())))
    if name_of(path) in MAY_BUILD:
        found = [(line, what) for line, what in found if what != "makes a Job"]
    # doorbells are noted by lifecycle.note_rung; reading SQL elsewhere is fine
    assert not found, f"{name_of(path)}: {found}: use a verb of jobs.lifecycle"


def test_the_rule_finds_what_it_forbids():
    bad = [
        "from jobs.models import Job, Attempt",
        "Job.objects.filter(pk=1).update(status='x')",
        "Attempt.objects.create()",
        "Job(id=1)",
        "x = 'UPDATE jobs_job SET a = 1'",
    ]
    assert {line for line, _ in writes_of(ast.parse("\n".join(bad)))} == {2, 3, 4, 5}


@pytest.mark.parametrize("path", PRODUCT, ids=name_of)
def test_modules_and_functions_stay_readable(path):
    text = path.read_text()
    assert text.count("\n") <= 400, "split it by concept"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 60, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", PRODUCT, ids=name_of)
def test_no_module_is_named_for_nothing(path):
    assert path.stem not in {"utils", "helpers", "services", "core", "common", "misc"}


@pytest.mark.parametrize(
    "path", [path for kind in ("css", "js") for path in sorted((ROOT / "static").rglob(f"*.{kind}"))], ids=name_of
)
def test_styles_and_scripts_are_concepts_too(path):
    assert path.read_text().count("\n") <= 400, "split it by concept"


def test_our_own_javascript_stays_small():
    """As it is sent, before any compression."""
    assert sum(path.stat().st_size for path in (ROOT / "static/js").rglob("*.js")) < 60_000
