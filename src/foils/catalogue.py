"""What can be written in a pipeline or recipe, read off the declarations themselves."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterable
from typing import Any

from foils.core.errors import SpecError
from foils.core.spec import Declared, Kind, registry, types_of
from foils.core.text import did_you_mean

_FIELD = re.compile(r"^    (\w+): [^#\n]*#\s*(.*?)\s*$", re.MULTILINE)


KINDS: tuple[Kind, ...] = ("stage", "contrast", "loss", "batches", "refresh", "guard", "schedule", "author", "check")


def named(name: str) -> type[Declared]:
    """The stage, or else the contrast, loss, …, of that name; those of training if `foils.train` was imported.

    Raises:
        SpecError: there is none; with a suggestion.
    """
    known = {name: cls for kind in reversed(KINDS) for name, cls in registry(kind).items()}
    if name in known:
        return known[name]
    raise SpecError(f"unknown stage {name!r}.{did_you_mean(name, list(known))} See: foils stages")


def describe(cls: type[Declared]) -> dict[str, Any]:
    """Name, family, documentation and fields of a declared class, as plain values."""
    bases = [base for base in reversed(cls.__mro__) if dataclasses.is_dataclass(base) or issubclass(base, Declared)]
    said = {name: text for base in bases for name, text in _FIELD.findall(inspect.getsource(base))}
    types = types_of(cls)
    fields = [
        {
            "name": field.name,
            "type": types[field.name],
            "required": field.default is dataclasses.MISSING,
            "default": None if field.default is dataclasses.MISSING else field.default,
            "help": said.get(field.name, ""),
        }
        for field in dataclasses.fields(cls)  # type: ignore[arg-type]
    ]
    family = getattr(cls, "family", cls.role)
    return {"name": cls.__name__, "family": family, "doc": inspect.getdoc(cls) or "", "fields": fields}


def page(title: str, classes: Iterable[type[Declared]]) -> str:
    """A Markdown page about declared classes, from their docstrings and the comments at their fields."""
    found = [describe(cls) for cls in classes]
    links = " · ".join(f"[{one['name']}](#{one['name'].lower()})" for one in found)
    head = f"# {title}\n\nMade from the docstrings by `scripts/pages.py`; do not edit.\n\n{links}\n"
    return head + "".join(map(_section, found))


def _section(one: dict[str, Any]) -> str:
    required = [field["name"] for field in one["fields"] if field["required"]]
    optional = [f"{f['name']}={f['default']!r}" for f in one["fields"] if not f["required"]]
    call = f"{one['name']}({', '.join([*(f'{name}=…' for name in required), *optional])})"
    rows = "".join(f"| `{f['name']}` | {_type(f)} | {_cell(f['help'])} |\n" for f in one["fields"])
    table = f"\n| field | what it takes | |\n|---|---|---|\n{rows}" if rows else ""
    return f"\n## {one['name']}\n\n    {call}\n\n{_markdown(one['doc'])}\n{table}"


def _type(field: dict[str, Any]) -> str:
    return str(field["type"] if field["required"] else f"{field['type']}; default `{field['default']!r}`")


def _cell(text: str) -> str:
    return _markdown(text).replace("|", "&#124;")


def _markdown(text: str) -> str:
    return text.replace("``", "`")
