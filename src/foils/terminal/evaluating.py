"""Evaluation as a person sees it, besides the table of measures, which prints itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from foils.evaluate import Space
from foils.terminal.layout import columns


def spaces(table: Any, seen: Sequence[Space]) -> RenderableType:
    """The measures, and below them what the spaces of the models look like, a column each."""
    if not seen:
        shown: RenderableType = table
        return shown
    grid = columns("vectors", *(each.system for each in seen), right=range(1, len(seen) + 1))
    for name in seen[0].figures:
        grid.add_row(name.replace("_", " "), *(f"{each.figures[name]:.3f}" for each in seen))
    first = seen[0]
    note = f"{first.queries:,} queries and {first.documents:,} distinct documents; hubs: lists of {first.k} documents."
    return Group(table, Text(""), grid, Text(note, style="dim"))
