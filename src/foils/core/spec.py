"""Values with a text form: ``@declare``, ``parse(text)`` and ``repr(value)``.

Everything a user names (stages, contrasts, losses, ...) is a frozen value. Its class is declared once; parser, listing,
documentation and contract tests follow from that. The grammar is Python's expression syntax, read with `ast`: calls of
declared names with literal arguments, joined by the operators that the values define (``>>``, ``+``, ``*``). Nothing
is evaluated and no import path is ever followed.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, ClassVar, Literal, TypeVar, dataclass_transform

from foils.core.errors import SpecError

Kind = Literal["stage", "contrast", "loss", "batches", "refresh"]
_REGISTRY: dict[str, type[Declared]] = {}
_OPERATORS = {ast.RShift: ">>", ast.Add: "+", ast.Mult: "*"}
_METHODS = {">>": "__rshift__", "+": "__add__", "*": "__mul__"}


class Declared:
    """Base of everything with a text form. A family says its ``role``; `declare` does the rest."""

    role: ClassVar[Kind]

    def check(self) -> None:
        """Refuse values out of bounds with `SpecError`; see `require`."""

    def __repr__(self) -> str:
        return _call(self, full=False)

    def full(self) -> str:
        """The text form with every field written out: what manifests store."""
        return _call(self, full=True)


D = TypeVar("D", bound=type[Declared])


@dataclass_transform(frozen_default=True)
def declare(cls: D) -> D:
    """Make a class a frozen value and register it under its name.

    Annotations become fields whose types are checked on construction (``int`` is accepted for ``float``, nothing else
    is converted), and ``check`` is called for bounds.

    Raises:
        SpecError: another class of that name is declared already.
    """

    def post(self: Declared) -> None:
        for field in _fields(type(self)):
            object.__setattr__(self, field.name, _typed(self, field.name, getattr(self, field.name)))
        self.check()

    cls.__post_init__ = post  # type: ignore[attr-defined]
    made = dataclasses.dataclass(frozen=True, repr=False)(cls)
    known = _REGISTRY.get(made.__name__)
    if known is not None and (known.__module__, known.__qualname__) != (made.__module__, made.__qualname__):
        raise SpecError(f"{made.__name__!r} is declared twice: in {known.__module__} and in {made.__module__}.")
    _REGISTRY[made.__name__] = made
    return typing.cast(D, made)


def require(holds: bool, value: Declared, name: str, bound: str) -> None:
    """Raise `SpecError` unless a field is within its bound; the message names field, value and bound."""
    if not holds:
        raise SpecError(f"{type(value).__name__}({name}={getattr(value, name)!r}): {name} must be {bound}.")


@cache
def _load_plugins() -> None:
    # Third parties publish stages, contrasts and losses under this group; loading a module declares what is in it.
    for point in entry_points(group="foils.stages"):
        point.load()


def registry(kind: Kind) -> dict[str, type[Declared]]:
    """All declared classes of a kind by name, plugins included, sorted by name."""
    _load_plugins()
    return {name: cls for name, cls in sorted(_REGISTRY.items()) if cls.role == kind}


@cache
def _hints(cls: Any) -> Mapping[str, Any]:
    return typing.get_type_hints(cls)


def _fields(cls: type) -> tuple[dataclasses.Field[Any], ...]:
    return tuple(field for field in dataclasses.fields(cls) if field.init and not field.name.startswith("_"))


def _typed(owner: Declared, name: str, value: Any) -> Any:
    hint = _hints(typing.cast(Any, type(owner)))[name]
    ok, converted = _fits(value, hint)
    if not ok:
        raise SpecError(f"{type(owner).__name__}({name}={value!r}): {name} must be {_say(hint)}.")
    return converted


def _fits(value: Any, hint: Any) -> tuple[bool, Any]:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        for option in typing.get_args(hint):
            ok, converted = _fits(value, option)
            if ok:
                return True, converted
        return False, value
    if origin is Literal:
        return value in typing.get_args(hint) and not isinstance(value, bool), value
    if origin is tuple:
        items = typing.get_args(hint)
        if not isinstance(value, list | tuple):
            return False, value
        fitted = [_fits(item, items[0]) for item in value]
        return all(ok for ok, _ in fitted), tuple(item for _, item in fitted)
    if hint is float:
        # Infinity has no literal, so its text form could not be read back.
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        return number, float(value) if number else value
    if hint is int and isinstance(value, bool):
        return False, value
    if hint is None or hint is type(None):
        return value is None, value
    return isinstance(value, hint), value


def types_of(cls: type[Declared]) -> dict[str, str]:
    """What each field accepts, in words."""
    hints = _hints(typing.cast(Any, cls))
    return {field.name: _say(hints[field.name]) for field in _fields(cls)}


def _say(hint: Any) -> str:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_say(option) for option in typing.get_args(hint))
    if origin is Literal:
        return "one of " + ", ".join(repr(option) for option in typing.get_args(hint))
    if origin is tuple:
        return "a list of " + _say(typing.get_args(hint)[0])
    names = {
        int: "a whole number",
        float: "a number",
        str: "a text in quotes",
        bool: "True or False",
        type(None): "None",
    }
    return names.get(hint, getattr(hint, "__name__", str(hint)))


def _call(value: Declared, *, full: bool) -> str:
    arguments: list[str] = []
    leading = True
    for field in _fields(type(value)):
        content = getattr(value, field.name)
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if not (full or required) and content == field.default:
            continue
        text = repr(list(content)) if isinstance(content, tuple) else repr(content)
        leading = leading and required and isinstance(content, str)
        arguments.append(text if leading else f"{field.name}={text}")
    return f"{type(value).__name__}({', '.join(arguments)})"


def full(value: Any) -> str:
    """The text form of a value with every field; ``parse(full(v)) == v``."""
    return value.full() if isinstance(value, Declared) else repr(value)


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
            return self.call(node)
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
        word = self.kinds[0]
        folded = {name.lower(): name for name in self.names}
        close = difflib.get_close_matches(node.id.lower(), folded, n=1, cutoff=0.6)
        hint = f"; did you mean {folded[close[0]]!r}?" if close else "."
        other = _REGISTRY.get(node.id)
        if other is not None:
            raise self.fail(node, f"{node.id!r} is a {other.role}, not a {word}; it cannot stand here.")
        raise self.fail(node, f"unknown {word} {node.id!r}{hint} See: foils stages")

    def call(self, node: ast.Call) -> Declared:
        if not isinstance(node.func, ast.Name):
            raise self.fail(node, "only declared names can be called; there are no imports and no attributes here")
        cls = self.lookup(node.func)
        fields = [field.name for field in _fields(cls)]
        if len(node.args) > len(fields):
            raise self.fail(node.args[len(fields)], f"{cls.__name__} takes at most {len(fields)} arguments")
        given = {name: self.literal(argument) for name, argument in zip(fields, node.args, strict=False)}
        for keyword in node.keywords:
            self.keyword(cls, fields, given, keyword)
        missing = [f.name for f in _fields(cls) if f.name not in given and f.default is dataclasses.MISSING]
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
            close = difflib.get_close_matches(node.arg, fields, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}?" if close else f"it has: {', '.join(fields) or 'no fields'}."
            raise self.fail(node, f"{cls.__name__} has no field {node.arg!r}; {hint}")
        given[node.arg] = self.literal(node.value)

    def literal(self, node: ast.expr) -> Any:
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError):  # TypeError: a key that cannot be hashed, such as {[1]: 2}
            raise self.fail(
                node, "a literal is needed here: a number, a text in quotes, True, False, None or a list"
            ) from None
