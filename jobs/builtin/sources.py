"""Python sources taken apart: one file at a time, then as a graph of imports."""

from __future__ import annotations

import ast
import tokenize
import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel, PrivateAttr


class Class(BaseModel):
    name: str
    line: int
    methods: int


class Function(BaseModel):
    name: str
    line: int


class Module(BaseModel):
    """`imports` are modules of the same code, loaded with this one; `deferred` those imported later or for types only."""

    name: str
    path: str
    lines: int
    is_package: bool
    classes: list[Class]
    functions: list[Function]
    import_count: int
    imports: list[str] = []
    deferred: list[str] = []
    external: list[str] = []
    # (absolute dotted name, imported names or None for a plain import, is it deferred)
    _wanted: list[tuple[str, list[str] | None, bool]] = PrivateAttr(default=[])


class Unparsed(BaseModel):
    module: str
    path: str
    reason: str


def parse(path: Path, name: str, shown_as: str) -> Module | Unparsed:
    """One file. What Python itself could not read is told, not raised."""
    try:
        with tokenize.open(path) as file:
            text = file.read()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes and the like are theirs, not ours
            tree = ast.parse(text)
        return _module_of(tree, text, path, name, shown_as)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OSError) as error:
        reason = f"{type(error).__name__}: {getattr(error, 'msg', None) or error}"
        return Unparsed(module=name, path=shown_as, reason=reason[:300])


def _module_of(tree: ast.Module, text: str, path: Path, name: str, shown_as: str) -> Module:
    classes = [n for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]
    imports = list(_imports_of(tree, deferred=False))
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    module = Module(
        name=name,
        path=shown_as,
        lines=text.count("\n") + (not text.endswith("\n") and bool(text)),
        is_package=path.name == "__init__.py",
        classes=[Class(name=c.name, line=c.lineno, methods=_methods(c)) for c in classes],
        functions=[Function(name=f.name, line=f.lineno) for f in functions],
        import_count=len(imports),
    )
    module._wanted = [found for node, deferred in imports for found in _names_of(node, module, deferred=deferred)]
    return module


def _methods(node: ast.ClassDef) -> int:
    return sum(isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) for n in node.body)


def _imports_of(tree: ast.AST, *, deferred: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Every import statement, and whether it is not carried out when the module is loaded. Without recursion."""
    stack = [(tree, deferred)]
    while stack:
        node, later = stack.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, later
            continue
        inside = later or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        stack += [(child, inside or typing_only) for child in ast.iter_child_nodes(node)]


def _names_of(node: ast.Import | ast.ImportFrom, module: Module, *, deferred: bool) -> Iterator[tuple[str, list[str] | None, bool]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name, None, deferred
        return
    names = [alias.name for alias in node.names]
    if not node.level:
        yield node.module or "", names, deferred
        return
    package = module.name.split(".") if module.is_package else module.name.split(".")[:-1]
    base = package[: len(package) - node.level + 1]
    if base:
        yield ".".join([*base, *(node.module or "").split(".")]).rstrip("."), names, deferred


def resolve(module: Module, known: Collection[str]) -> None:
    """Fill in what the module imports: modules of the same code by their full name, others by their top-level package."""
    now: set[str] = set()
    later: set[str] = set()
    external: set[str] = set()
    tops = {name.split(".")[0] for name in known}
    for target, names, deferred in module._wanted:
        found = set(_inside(target, names, known))
        (later if deferred else now).update(found - {module.name})
        if not found and target and target.split(".")[0] not in tops:
            external.add(target.split(".")[0])
    module.imports, module.deferred, module.external = sorted(now), sorted(later - now), sorted(external)


def _inside(target: str, names: list[str] | None, known: Collection[str]) -> Iterator[str]:
    """`from a import b` means the module a.b where there is one, else the name b in a."""
    submodules = [f"{target}.{name}" for name in names or [] if f"{target}.{name}" in known]
    yield from submodules
    if len(submodules) < len(names or [""]):
        while target and target not in known:
            target = target.rpartition(".")[0] if names is None else ""
        if target:
            yield target


def cycles_among(edges: Mapping[str, Collection[str]]) -> list[list[str]]:
    """The strongly connected components with more than one member, each sorted; largest first.

    Source: R. Tarjan, "Depth-first search and linear graph algorithms", SIAM J. Computing 1 (1972); with a stack of our own,
    because chains of imports may be longer than Python's.
    """
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    on_path: set[str] = set()
    found: list[list[str]] = []
    for start in edges:
        if start in index:
            continue
        work = [(start, iter(edges[start]))]
        index[start] = low[start] = len(index)
        path.append(start)
        on_path.add(start)
        while work:
            node, rest = work[-1]
            for child in rest:
                if child not in edges:
                    continue
                if child not in index:
                    index[child] = low[child] = len(index)
                    path.append(child)
                    on_path.add(child)
                    work.append((child, iter(edges[child])))
                    break
                if child in on_path:
                    low[node] = min(low[node], index[child])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    cut = path.index(node)
                    component, path[cut:] = path[cut:], []
                    on_path.difference_update(component)
                    if len(component) > 1:
                        found.append(sorted(component))
    return sorted(found, key=lambda component: (-len(component), component))
