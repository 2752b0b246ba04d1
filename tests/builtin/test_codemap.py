import ast
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from jobs.builtin.codemap import CodeMapParams, codemap
from jobs.builtin.codemap_merge import MergeParams, merge
from jobs.builtin.sources import cycles_among
from jobs.errors import Permanent
from jobs.tools import ParentResult


class Notebook:
    """A JobContext that writes down what the tool says."""

    id, fence = "job", 1

    def __init__(self, parents=()):
        self.parents = list(parents)
        self.percents, self.stages, self.lines = [], [], []

    def progress(self, percent, message=None, *, stage=None, sub_progress=None):
        self.percents.append(percent)
        if stage not in self.stages:
            self.stages.append(stage)

    def diagnostic(self, text):
        self.lines.append(text)

    def metadata(self, **values):
        pass

    def check(self):
        pass


@pytest.fixture
def tree(tmp_path, settings):
    settings.JOBSITE_ROOTS = [tmp_path]

    def write(**files):
        for name, text in files.items():
            path = tmp_path / "app" / (name.replace("__slash__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        job = Notebook()
        return codemap(CodeMapParams(path=str(tmp_path / "app")), job), job

    return write


@pytest.mark.parametrize("package", ["email", "json"])
def test_the_counts_of_a_real_package_agree_with_an_independent_count(package):
    job = Notebook()
    found = codemap(CodeMapParams(package=package), job)
    files = sorted((Path(json.__file__).parents[1] / package).rglob("*.py"))
    trees = [ast.parse(file.read_text()) for file in files]
    assert found.counts["modules"] == len(files)
    assert found.counts["classes"] == sum(isinstance(n, ast.ClassDef) for t in trees for n in ast.walk(t))
    assert found.counts["functions"] == sum(isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) for t in trees for n in t.body)
    assert found.counts["lines"] == sum(len(file.read_text().split("\n")) - 1 for file in files)
    assert job.stages == ["discover", "parse", "resolve imports", "summarise"]
    assert job.percents == sorted(job.percents)
    assert len(job.percents) > len(files)


def test_a_single_module_can_be_mapped():
    assert codemap(CodeMapParams(package="ast"), Notebook()).counts["modules"] == 1


def test_files_that_do_not_parse_are_told_and_left_out(tree):
    found, job = tree(good="x = 1\n", bad="def (:\n", binary=b"\xff\xfe\x00", nul="a\x00b", deep="(" * 5000)
    assert [m.name for m in found.modules] == ["app.good"]
    assert {u.path for u in found.unparsed} == {"bad.py", "binary.py", "nul.py", "deep.py"}
    assert len(job.lines) == 4


def test_cycles_are_found_and_deferred_imports_make_none(tree):
    found, _ = tree(
        __init__="",
        a="from . import b\n",
        b="from .a import thing\n",
        c="def later():\n    from app import d\n",
        d="import app.c\n",
        e="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .f import F\n",
        f="from . import e\n",
    )
    assert found.cycles == [["app.a", "app.b"]]
    by_name = {m.name: m for m in found.modules}
    assert by_name["app.c"].deferred == ["app.d"]
    assert by_name["app.e"].deferred == ["app.f"]
    assert by_name["app.e"].external == ["typing"]


def test_links_to_folders_are_not_followed(tree, tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "loop").symlink_to(tmp_path / "app", target_is_directory=True)
    assert tree(one="")[0].counts["modules"] == 1


@pytest.mark.parametrize("path", ["/etc", "/", "../.."])
def test_only_folders_below_the_roots_may_be_read(path, tmp_path, settings):
    settings.JOBSITE_ROOTS = [tmp_path]
    with pytest.raises(Permanent, match="not below"):
        codemap(CodeMapParams(path=path), Notebook())


@pytest.mark.parametrize("params", [{}, {"package": "a", "path": "b"}, {"package": "a/b"}, {"package": "os; import x"}])
def test_params_name_either_a_package_or_a_path(params):
    with pytest.raises(ValidationError):
        CodeMapParams(**params)


def test_an_unknown_package_is_a_clear_error():
    with pytest.raises(Permanent, match="no Python package 'nobody_has_this'"):
        codemap(CodeMapParams(package="nobody_has_this"), Notebook())


def test_merging_adds_up_and_shows_who_uses_whom():
    maps = {name: codemap(CodeMapParams(package=name), Notebook()) for name in ("email", "json", "http")}
    parents = [
        ParentResult(id=n, tool="codemap", status="completed", result={"structuredContent": m.model_dump()})
        for n, m in maps.items()
    ]
    report = merge(MergeParams(), Notebook(parents))
    assert report.counts["lines"] == sum(m.counts["lines"] for m in maps.values())
    assert "email" in report.uses["http"]
    assert report.largest[0]["lines"] == max(m.lines for found in maps.values() for m in found.modules)


def test_merging_nothing_is_a_clear_error():
    with pytest.raises(Permanent, match="depend on completed codemap"):
        merge(MergeParams(), Notebook())


def reaches(edges, start):
    seen, todo = set(), [start]
    while todo:
        for child in edges.get(todo.pop(), ()):
            if child in edges and child not in seen:
                seen.add(child)
                todo.append(child)
    return seen


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.sets(st.sampled_from("abcdefgh"))))
def test_two_modules_are_in_one_cycle_exactly_when_each_reaches_the_other(edges):
    reach = {node: reaches(edges, node) for node in edges}
    cycles = cycles_among(edges)
    for one in edges:
        for other in edges:
            together = any(one in cycle and other in cycle for cycle in cycles)
            if one != other:
                assert together == (other in reach[one] and one in reach[other])


def test_a_chain_longer_than_the_stack_is_no_problem():
    ring = {str(n): {str((n + 1) % 20_000)} for n in range(20_000)}
    assert len(cycles_among(ring)[0]) == 20_000
