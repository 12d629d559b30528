"""Values with a text form: ``@declare``, ``parse(text)`` and ``repr(value)``.

Everything a user names (stages, contrasts, losses, ...) is a frozen value. Its class is declared once; parser, listing,
documentation and contract tests follow from that. The grammar is Python's expression syntax, read with `ast`: calls of
declared names with literal arguments, joined by the operators that the values define (``>>``, ``+``, ``*``). Nothing
is evaluated and no import path is ever followed.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterable
from typing import Any

from foils.core.declared import (
    Declared,
    Kind,
    Schedule,
    declare,
    fields_of,
    full,
    known_as,
    registry,
    require,
    resolve,
    scheduled,
    types_of,
)
from foils.core.errors import SpecError
from foils.core.schedule import Competence, Cosine, Linear, Log, Step
from foils.core.text import did_you_mean

__all__ = [
    "Competence",
    "Cosine",
    "Declared",
    "Kind",
    "Linear",
    "Log",
    "Schedule",
    "Step",
    "declare",
    "full",
    "parse",
    "registry",
    "require",
    "resolve",
    "scheduled",
    "types_of",
]

_OPERATORS = {ast.RShift: ">>", ast.Add: "+", ast.Mult: "*"}
_METHODS = {">>": "__rshift__", "+": "__add__", "*": "__mul__"}


def parse(text: str, *kinds: Kind) -> Any:
    """Read a value from its text form.

    Args:
        text: for example ``Dense('student', k=400) >> SimANS(k=15, a=0.5)``.
        kinds: which kinds of names may occur, that of the whole first; stages by default.

    Returns:
        The value; ``repr`` and ``full`` of it can be parsed again.

    Raises:
        SpecError: with the position of the fault, and a suggestion for a misspelt name or field.
    """
    source = text.strip().replace("\n", " ")
    if not source:
        raise SpecError("the pipeline is empty; an example: Dense('student', k=100) >> Top(k=8). See: foils stages")
    try:
        tree = ast.parse(source, mode="eval")
    except SyntaxError as error:
        raise _at(source, (error.offset or 1) - 1, f"cannot read this: {error.msg}") from None
    except (UnicodeEncodeError, RecursionError, MemoryError) as error:
        raise SpecError(f"cannot read a pipeline of {len(source):,} characters: {error}") from None
    reader = _Reader(source, kinds or ("stage",))
    reader.refuse_comment(tree.body)
    return reader.whole(tree.body)


def _at(source: str, column: int, message: str) -> SpecError:
    return SpecError(f"{message} (at column {column + 1})\n  {source}\n  {' ' * column}^")


class _Reader:
    """Turns a parsed expression into declared values."""

    def __init__(self, source: str, kinds: Iterable[Kind]) -> None:
        self.source = source
        self.kinds = tuple(kinds)
        self.names: dict[str, type[Declared]] = {}
        for kind in self.kinds:
            self.names.update(registry(kind))

    def fail(self, node: ast.AST, message: str) -> SpecError:
        return _at(self.source, self.characters(getattr(node, "col_offset", 0)), message)

    def characters(self, offset: int) -> int:
        # `ast` counts columns in UTF-8 bytes.
        return len(self.source.encode()[:offset].decode(errors="ignore"))

    def refuse_comment(self, tree: ast.expr) -> None:
        # On one line, a comment would hide all stages after it.
        end = self.characters(tree.end_col_offset or 0)
        if self.source[end:].strip(" )"):
            raise _at(self.source, self.source.index("#", end), "comments cannot stand in a pipeline")

    def whole(self, tree: ast.expr) -> Declared:
        found = self.value(tree)
        if not isinstance(found, Declared) or found.role != self.kinds[0]:
            raise self.fail(tree, f"{found!r} is no {self.kinds[0]}; an example of a stage: BM25(k=100)")
        return found

    def value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.BinOp):
            return self.operator(node)
        if isinstance(node, ast.Call):
            # A schedule can be the weight of a loss.
            return (self.schedule(node) if self.kinds[0] == "loss" else None) or self.call(node)
        if isinstance(node, ast.Name):
            # A bare name is the most common slip: `Top` for `Top()`.
            self.lookup(node)
            raise self.fail(node, f"{node.id!r} needs parentheses: {node.id}(…)")
        return self.literal(node)

    def operator(self, node: ast.BinOp) -> Any:
        symbol = _OPERATORS.get(type(node.op))
        if symbol is None:
            raise self.fail(node, "only '>>' (then), '+' (pool or sum) and '*' (weight) join values")
        left, right = self.value(node.left), self.value(node.right)
        method = getattr(left, _METHODS[symbol], None) if isinstance(left, Declared) else None
        mirrored = getattr(right, "__r" + _METHODS[symbol][2:], None) if isinstance(right, Declared) else None
        for function, other in ((method, right), (mirrored, left)):
            result = NotImplemented if function is None else function(other)
            if result is not NotImplemented:
                return result
        raise self.fail(node, f"'{symbol}' does not join {left!r} and {right!r}")

    def lookup(self, node: ast.Name) -> type[Declared]:
        if node.id in self.names:
            return self.names[node.id]
        word, other = self.kinds[0], known_as(node.id)
        if other is not None:
            raise self.fail(node, f"{node.id!r} is a {other.role}, not a {word}; it cannot stand here.")
        where = "foils stages" if word == "stage" else f"foils stages --kind {word}"
        raise self.fail(node, f"unknown {word} {node.id!r}.{did_you_mean(node.id, list(self.names))} See: {where}")

    def call(self, node: ast.Call) -> Declared:
        if not isinstance(node.func, ast.Name):
            raise self.fail(node, "only declared names can be called; there are no imports and no attributes here")
        return self.made(node, self.lookup(node.func))

    def made(self, node: ast.Call, cls: type[Declared]) -> Declared:
        fields = [field.name for field in fields_of(cls)]
        if len(node.args) > len(fields):
            raise self.fail(node.args[len(fields)], f"{cls.__name__} takes at most {len(fields)} arguments")
        given = {name: self.content(argument) for name, argument in zip(fields, node.args, strict=False)}
        for keyword in node.keywords:
            self.keyword(cls, fields, given, keyword)
        missing = [f.name for f in fields_of(cls) if f.name not in given and f.default is dataclasses.MISSING]
        if missing:
            raise self.fail(node, f"{cls.__name__} needs {', '.join(f'{name}=…' for name in missing)}")
        try:
            return cls(**given)
        except SpecError as error:
            raise self.fail(node, str(error)) from None

    def keyword(self, cls: type[Declared], fields: list[str], given: dict[str, Any], node: ast.keyword) -> None:
        if node.arg is None or node.arg in given:
            raise self.fail(node, f"{node.arg or '**'} is given twice" if node.arg else "'**' cannot be used here")
        if node.arg not in fields:
            there = f" It has: {', '.join(fields) or 'no fields'}."
            hint = did_you_mean(node.arg, fields) or there
            raise self.fail(node, f"{cls.__name__} has no field {node.arg!r}.{hint}")
        given[node.arg] = self.content(node.value)

    def content(self, node: ast.expr) -> Any:
        # Of all that can be called, only a schedule can stand in place of a field's number, or of one in its list.
        if isinstance(node, ast.List | ast.Tuple):
            return [self.content(item) for item in node.elts]
        found = self.schedule(node)
        return self.literal(node) if found is None else found

    def schedule(self, node: ast.expr) -> Declared | None:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            schedule = registry("schedule").get(node.func.id)
            if schedule is not None:
                return self.made(node, schedule)
        return None

    def literal(self, node: ast.expr) -> Any:
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError):  # TypeError: a key that cannot be hashed, such as {[1]: 2}
            raise self.fail(
                node,
                "a literal is needed here: a number, a text in quotes, True, False, None, a list or a schedule",
            ) from None
