"""Tool `codemap`: what Python sources are made of and how their modules hang together. Reads code, never runs it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Self

from django.conf import settings
from pydantic import BaseModel, ConfigDict, Field, model_validator

from jobs.builtin import codemap_merge  # noqa: F401  (registers the tool that belongs to this one)
from jobs.builtin.sources import Module, Unparsed, cycles_among, parse, resolve
from jobs.errors import Permanent
from jobs.limits import Resources
from jobs.tools import JobContext, tool


class CodeMapParams(BaseModel):
    """Either an importable package, or a folder or file below a configured root."""

    model_config = ConfigDict(extra="forbid")

    package: str | None = Field(default=None, pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$", max_length=200)
    path: str | None = Field(default=None, min_length=1, max_length=1000)

    @model_validator(mode="after")
    def one_of_both(self) -> Self:
        if (self.package is None) == (self.path is None):
            raise ValueError('give either "package" or "path"')
        return self


class CodeMap(BaseModel):
    """`counts` are exact; `cycles` are sets of modules that import each other when they are loaded."""

    name: str
    counts: dict[str, int]
    modules: list[Module]
    cycles: list[list[str]]
    external: dict[str, int]
    unparsed: list[Unparsed]


@tool("codemap", operation="codemap", params=CodeMapParams, timeout=900, resources=Resources(memory_mb=256, cpu_weight=1))
def codemap(params: CodeMapParams, job: JobContext) -> CodeMap:
    """Map a Python package: modules, classes, functions, imports, cycles."""
    root, name = _source_of(params)
    job.progress(0, "Looking for sources", stage="discover")
    files = discover(root, name)
    if not files:
        raise Permanent(f"there are no Python files in {name}")
    modules, unparsed = _parse_all(files, root, job)
    known = {module.name for module in modules} | {bad.module for bad in unparsed}
    for place, module in enumerate(modules):
        job.progress(80 + 15 * place / len(modules), module.name, stage="resolve imports", sub_progress=100 * place / len(modules))
        resolve(module, known)
    job.progress(95, "Counting", stage="summarise")
    cycles = cycles_among({module.name: module.imports for module in modules})
    return CodeMap(
        name=name,
        counts=_counts(modules, cycles, unparsed),
        modules=modules,
        cycles=cycles,
        external=_external(modules),
        unparsed=unparsed,
    )


def _source_of(params: CodeMapParams) -> tuple[Path, str]:
    """(folder or file, name of the top module)."""
    if params.path is not None:
        return _allowed(Path(params.path)), Path(params.path).resolve().stem
    top, *inner = (params.package or "").split(".")
    # The top alone is looked up: find_spec of a submodule would import, that is run, its parents.
    spec = importlib.util.find_spec(top)
    places = list(spec.submodule_search_locations or []) if spec else []
    if spec is None or not (places or (spec.origin or "").endswith(".py")):
        raise Permanent(f"there is no Python package {params.package!r} with sources here")
    root = Path(places[0]).joinpath(*inner) if places else Path(spec.origin or "")
    if inner and not root.is_dir():
        root = root.with_suffix(".py")
    if not root.exists():
        raise Permanent(f"there is no Python package {params.package!r} with sources here")
    return root, params.package or ""


def _allowed(path: Path) -> Path:
    """Folders only below the configured roots; links are followed before that is decided."""
    resolved = path.resolve()
    if not any(resolved.is_relative_to(root) for root in settings.JOBSITE_ROOTS):
        roots = ", ".join(str(root) for root in settings.JOBSITE_ROOTS)
        raise Permanent(f"{path} is not below one of the folders that may be read (JOBSITE_ROOTS: {roots})")
    if not resolved.exists():
        raise Permanent(f"{path} does not exist")
    return resolved


def discover(root: Path, name: str) -> list[tuple[Path, str]]:
    """(file, module name) of all sources, sorted; links to folders are not followed, so no loop can catch it."""
    if root.is_file():
        return [(root, name)]
    found = []
    for folder, folders, files in root.walk() if hasattr(root, "walk") else _walk(root):
        folders[:] = sorted(f for f in folders if f != "__pycache__" and not (folder / f).is_symlink())
        package = ".".join([name, *folder.relative_to(root).parts])
        sources = sorted(file for file in files if file.endswith(".py"))
        found += [(folder / file, package if file == "__init__.py" else f"{package}.{file[:-3]}") for file in sources]
    return found


def _walk(root: Path) -> Any:
    """Path.walk for Python 3.11."""
    import os  # noqa: PLC0415  (goes when 3.11 does)

    for folder, folders, files in os.walk(root):
        yield Path(folder), folders, files


def _parse_all(files: list[tuple[Path, str]], root: Path, job: JobContext) -> tuple[list[Module], list[Unparsed]]:
    modules: list[Module] = []
    unparsed: list[Unparsed] = []
    base = root if root.is_dir() else root.parent
    for place, (path, name) in enumerate(files):
        job.progress(5 + 75 * place / len(files), name, stage="parse", sub_progress=100 * place / len(files))
        parsed = parse(path, name, path.relative_to(base).as_posix())
        if isinstance(parsed, Unparsed):
            unparsed.append(parsed)
            job.diagnostic(f"{parsed.path} was left out: {parsed.reason}")
        else:
            modules.append(parsed)
    return modules, unparsed


def _counts(modules: list[Module], cycles: list[list[str]], unparsed: list[Unparsed]) -> dict[str, int]:
    return {
        "modules": len(modules),
        "packages": sum(module.is_package for module in modules),
        "classes": sum(len(module.classes) for module in modules),
        "functions": sum(len(module.functions) for module in modules),
        "methods": sum(known.methods for module in modules for known in module.classes),
        "lines": sum(module.lines for module in modules),
        "imports": sum(module.import_count for module in modules),
        "internal_edges": sum(len(module.imports) for module in modules),
        "cycles": len(cycles),
        "unparsed": len(unparsed),
    }


def _external(modules: list[Module]) -> dict[str, int]:
    """Foreign top-level packages, and how many modules import each; most used first."""
    used: dict[str, int] = {}
    for module in modules:
        for name in module.external:
            used[name] = used.get(name, 0) + 1
    return dict(sorted(used.items(), key=lambda item: (-item[1], item[0])))
