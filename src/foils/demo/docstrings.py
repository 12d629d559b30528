"""Documentation strings of the Python on this machine, by parsing its files; nothing is imported or run."""

from __future__ import annotations

import ast
import itertools
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MIN_SUMMARY, MAX_SUMMARY, MIN_REST = 3, 60, 20  # words
SKIPPED = frozenset(
    [
        *("__pycache__", "site-packages", "dist-packages", "foils"),
        *("test", "tests", "testing", "idlelib", "lib2to3"),
        *("_vendor", "_vendored", "vendored", "vendor", "externals", "_distutils"),  # copies of other packages
    ]
)
_NESTED = (ast.If, ast.Try, ast.With, ast.For, ast.While)
_KINDS = {ast.FunctionDef: "function", ast.AsyncFunctionDef: "function", ast.ClassDef: "class", ast.Module: "module"}


@dataclass(frozen=True)
class Source:
    """A Python file."""

    package: str  # top-level package or module
    module: str  # dotted name
    path: Path
    size: int  # bytes


@dataclass(frozen=True)
class Described:
    """An object with a documentation string."""

    module: str
    name: str  # "" for the module itself
    kind: str
    summary: str
    rest: str

    @property
    def package(self) -> str:
        """Top-level package or module."""
        return self.module.split(".")[0]

    @property
    def id(self) -> str:
        """``module`` or ``module:name``."""
        return f"{self.module}:{self.name}" if self.name else self.module


def python_sources() -> list[Source]:
    """The Python files of the standard library and of the installed packages, in a fixed order."""
    paths = sysconfig.get_paths()
    roots = dict.fromkeys(Path(paths[name]).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    return [source for root in roots if root.is_dir() for source in _walk(root, root)]


def described(module: str, source: bytes) -> list[Described]:
    """The public objects of a module whose documentation string has a summary and enough more.

    Args:
        module: dotted name.
        source: of the module; it is parsed, not run.

    Raises:
        SyntaxError, ValueError, RecursionError: Python cannot parse it.
    """
    if b'"""' not in source and b"'''" not in source:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about escapes in other people's strings
        tree = ast.parse(source)
    found = (_described(module, name, node) for name, node in itertools.chain([("", tree)], _objects(tree, "")))
    return [item for item in found if item is not None]


def _walk(root: Path, folder: Path) -> Iterator[Source]:
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            continue
        if path.is_dir():
            if path.name not in SKIPPED and path.name.isidentifier():
                yield from _walk(root, path)
        elif path.suffix == ".py" and path.stem.isidentifier() and not path.stem.startswith(("test_", "conftest")):
            parts = [*path.relative_to(root).parent.parts, *([] if path.stem == "__init__" else [path.stem])]
            if parts and parts[0] not in SKIPPED:
                yield Source(parts[0], ".".join(parts), path, path.stat().st_size)


def _objects(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.AST]]:
    """Public classes, functions and methods below a node, with their qualified names."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if not child.name.startswith("_"):
                name = f"{prefix}{child.name}"
                yield name, child
                if isinstance(child, ast.ClassDef):
                    yield from _objects(child, f"{name}.")
        elif isinstance(child, _NESTED):
            yield from _objects(child, prefix)


def _described(module: str, name: str, node: ast.AST) -> Described | None:
    text = ast.get_docstring(node)  # type: ignore[arg-type]
    if not text:
        return None
    first, _, rest = text.strip().partition("\n\n")
    summary, rest = " ".join(first.split()), rest.strip()
    if not (MIN_SUMMARY <= len(summary.split()) <= MAX_SUMMARY and len(rest.split()) >= MIN_REST):
        return None
    if any("\ud800" <= c <= "\udfff" for c in summary + rest):  # an escape that is no character
        return None
    return Described(module, name, _KINDS[type(node)], summary, rest)
