"""Values that are declared once: ``@declare``, their fields, their text, and schedules in place of their numbers."""

from __future__ import annotations

import copy
import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, ClassVar, Literal, TypeVar, dataclass_transform

from foils.core.errors import SpecError

Kind = Literal["stage", "contrast", "loss", "batches", "refresh", "guard", "schedule", "author", "check"]
_REGISTRY: dict[str, type[Declared]] = {}


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
    is converted), and ``check`` is called for bounds. Where a number is annotated, a `Schedule` may stand; ``check``
    then sees the numbers at several times, and whoever uses the value resolves it first (`resolve`).

    Raises:
        SpecError: another class of that name is declared already.
    """

    def post(self: Declared) -> None:
        for field in fields_of(type(self)):
            object.__setattr__(self, field.name, _typed(self, field.name, getattr(self, field.name)))
        held = (getattr(self, field.name) for field in fields_of(type(self)))
        times = {t for value in held for item in _items(value) if isinstance(item, Schedule) for t in item.times()}
        if not times:
            self.check()
        for t in sorted(times):
            _check_at(self, t)

    cls.__post_init__ = post  # type: ignore[attr-defined]
    made = dataclasses.dataclass(frozen=True, repr=False)(cls)
    known = _REGISTRY.get(made.__name__)
    if known is not None and (known.__module__, known.__qualname__) != (made.__module__, made.__qualname__):
        raise SpecError(f"{made.__name__!r} is declared twice: in {known.__module__} and in {made.__module__}.")
    _REGISTRY[made.__name__] = made
    return typing.cast(D, made)


def _items(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _check_at(value: Declared, t: float) -> None:
    try:
        resolve(value, t)  # checks what it makes
    except SpecError as error:
        raise SpecError(f"{value!r}: at progress {t:g}, {error}") from None


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


def known_as(name: str) -> type[Declared] | None:
    """What is declared under a name, of whatever kind."""
    return _REGISTRY.get(name)


@cache
def _hints(cls: Any) -> Mapping[str, Any]:
    return typing.get_type_hints(cls)


def fields_of(cls: type) -> tuple[dataclasses.Field[Any], ...]:
    """The fields of a declared class that a text gives."""
    return tuple(field for field in dataclasses.fields(cls) if field.init and not field.name.startswith("_"))


def _typed(owner: Declared, name: str, value: Any) -> Any:
    hint = _hints(typing.cast(Any, type(owner)))[name]
    held = tuple(value) if isinstance(value, list) else value
    nested = isinstance(owner, Schedule) and any(isinstance(item, Schedule) for item in _items(held))
    ok, converted = (False, value) if nested else _fits(value, hint)
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
    if hint in (int, float) and isinstance(value, Schedule):
        return True, value
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
    return {field.name: _say(hints[field.name]) for field in fields_of(cls)}


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
    for field in fields_of(type(value)):
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


class Schedule(Declared):
    """A number that depends on the progress of training: 0 at its beginning, 1 at its end."""

    role: ClassVar[Kind] = "schedule"

    def at(self, t: float) -> float:
        """The number at progress t, 0 <= t <= 1."""
        raise NotImplementedError

    def times(self) -> tuple[float, ...]:
        """The times at which it is checked whether the number is within its bounds."""
        return (0.0, 0.5, 1.0)


def scheduled(value: Any) -> bool:
    """Whether any number in a value depends on progress."""
    if isinstance(value, tuple):
        return any(map(scheduled, value))
    if not isinstance(value, Declared):
        return False
    return isinstance(value, Schedule) or any(map(scheduled, vars(value).values()))


def resolve(value: Any, t: float) -> Any:
    """A value as it is at progress t: every schedule in it, however deep, becomes a number.

    Whole numbers are rounded to the nearest, halves to the even one.

    Args:
        value: a stage, loss, contrast, …, or a pipeline or sum of them; unchanged if nothing in it is scheduled.
        t: progress of training, 0 to 1.

    Raises:
        SpecError: t is out of bounds, or a number is at that time.
    """
    if not 0 <= t <= 1:
        raise SpecError(f"progress {t!r}: it must be between 0 (the beginning of training) and 1 (its end).")
    if isinstance(value, Schedule):
        return value.at(t)
    if isinstance(value, tuple):
        parts = tuple(resolve(item, t) for item in value)
        return parts if any(a is not b for a, b in zip(parts, value, strict=True)) else value
    if not isinstance(value, Declared):
        return value
    changed = {name: new for name, old in vars(value).items() if (new := resolve(old, t)) is not old}
    if not changed:
        return value
    if dataclasses.is_dataclass(value):
        numbers = {name: _rounded(value, name, new) for name, new in changed.items()}
        return dataclasses.replace(value, **numbers)
    twin = copy.copy(value)
    vars(twin).update(changed)
    return twin


def _rounded(owner: Declared, name: str, number: Any) -> Any:
    hint = _hints(typing.cast(Any, type(owner)))[name]
    accepted = typing.get_args(hint) or (hint,)
    return round(number) if int in accepted and float not in accepted else number
