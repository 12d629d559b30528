"""Lists of recipes, prompts, stages and parts of training, and the page of one of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from foils.core.spec import Declared
from foils.terminal.layout import columns


def recipes(listed: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Names and titles."""
    grid = columns("recipe", "what it does")
    for recipe in listed:
        grid.add_row(recipe["name"], escape(f"{recipe['title']}. {recipe['mine'] or ''}".strip()))
    return Group(grid, Text("foils recipes NAME shows one whole; foils train DATA --recipe NAME runs it."))


def prompts(listed: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Names, versions and titles."""
    grid = columns("prompt", "version", "what it asks for", right=(1,))
    for prompt in listed:
        grid.add_row(prompt["name"], prompt["version"], escape(prompt["title"]))
    return Group(grid, Text("foils prompts NAME prints one whole; > mine.yaml makes a copy to change."))


def stages(listed: Mapping[str, type[Declared]]) -> RenderableType:
    """Names, families, fields and first lines."""
    grid = columns("family", "stage", "what it does")
    order = ("source", "scorer", "labeler", "filter", "sampler", "shortfall")
    known = [(order.index(cls.family) if cls.family in order else 9, name, cls) for name, cls in listed.items()]  # type: ignore[attr-defined]
    for _, name, cls in sorted(known, key=lambda row: row[:2]):
        grid.add_row(cls.family, name, escape(first_line(cls)))  # type: ignore[attr-defined]
    return Group(grid, Text("'>>' is then, '+' pools and binds tighter. foils stages NAME explains one."))


def parts(kind: str, listed: Mapping[str, type[Declared]]) -> RenderableType:
    """Names and first lines of the losses, contrasts, …"""
    grid = columns(kind, "what it does")
    for name, cls in listed.items():
        grid.add_row(name, escape(first_line(cls)))
    return Group(grid, Text("foils stages NAME explains one."))


def first_line(cls: type) -> str:
    """The first line of a class's documentation."""
    return (cls.__doc__ or "").strip().split("\n")[0].replace("``", "")


def stage_page(page: Mapping[str, Any]) -> RenderableType:
    """One stage: its documentation and its fields."""
    grid = columns("field", "type", "default", "")
    for field in page["fields"]:
        default = "required" if field["required"] else repr(field["default"])
        grid.add_row(field["name"], escape(str(field["type"])), escape(default), escape(field["help"]))
    return Group(
        Text.assemble((page["name"], "bold"), f"  ({page['family']})"), Text(_flowing(page["doc"])), Text(""), grid
    )


def _flowing(doc: str) -> str:
    # Lines of a paragraph were broken for the source file; the terminal breaks them for itself.
    paragraphs = (re.split(r"\n(?=- )", paragraph) for paragraph in doc.replace("``", "").split("\n\n"))
    return "\n\n".join("\n".join(" ".join(item.split()) for item in items) for items in paragraphs)
