"""What everything shown is made of: the console, tables of columns, tables of facts."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import IO, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

WIDTH = 80


def console(stream: IO[str] | None = None) -> Console:
    """A console of at most 80 columns when the output is no terminal, so that files and pipes read well too."""
    stream = stream or sys.stdout
    return Console(file=stream, width=None if stream.isatty() else WIDTH, highlight=False, soft_wrap=False)


def columns(*headers: str, right: Sequence[int] = ()) -> Table:
    """An empty table with these headers; ``right`` are the places of columns of numbers."""
    made = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for place, header in enumerate(headers):
        made.add_column(header, justify="right" if place in right else "left", overflow="fold")
    return made


def facts(rows: Iterable[tuple[str, Any]]) -> RenderableType:
    """Two columns: what, and its value."""
    made = Table.grid(padding=(0, 2))
    made.add_column(style="bold")
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(name, escape(f"{value:,}" if isinstance(value, int) else str(value)))
    return made
