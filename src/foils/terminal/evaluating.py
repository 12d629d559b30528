"""Evaluation as a person sees it, besides the table of measures, which prints itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from foils.evaluate import Space
from foils.evaluate.tables import number
from foils.evaluate.transfer import Transfer
from foils.terminal.layout import columns

_ABREAST = 2  # models side by side in 80 columns


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


_STYLES = {"better": "green", "worse": "red", "unclear": "dim"}


def transferred(found: Transfer) -> RenderableType:
    """A row for each task: the value of each model, and below it the difference to the start model."""
    names = list(found.answers)
    parts: list[RenderableType] = []
    for start in range(0, len(names), _ABREAST):
        few = names[start : start + _ABREAST]
        grid = columns("task", "measure", *(f"{n} (start)" if n == found.baseline else n for n in few))
        for task in found.tasks:
            grid.add_row(task.key, task.measure, *(_cell(found, name, task.key) for name in few))
        parts += [grid, Text("")]
    sizes = ", ".join(f"{task.key} {len(task):,}" for task in found.tasks if len(task))
    notes = [f"[95 % interval]. Measured: {sizes}."]
    tested = {key for versus in found.versus.values() for key, each in versus.items() if not math.isnan(each.p)}
    if tested:
        notes.append(f"Differences are to {found.baseline}, paired; p is corrected (Holm) for {len(tested)} tasks.")
    elif found.versus:
        notes.append(f"Differences are to {found.baseline}; none can be tested.")
    parts.append(Text("\n".join(notes), style="dim"))
    for system, key in found.regressions:
        worse = number(-found.versus[system][key].difference)
        parts.append(Text(f"REGRESSION: {system} is worse at {key}, by {worse}.", style="red"))
    return Group(*parts)


def _cell(found: Transfer, name: str, key: str) -> Text:
    text = Text(f"{number(found.answers[name][key].value)} {_interval(found.spans[name][key])}")
    versus = found.versus.get(name, {}).get(key)
    if versus is not None:
        span = None if versus.low is None or versus.high is None else (versus.low, versus.high)
        text.append(f"\n{number(versus.difference, sign=True)} {_interval(span, sign=True)}")
        p = "p<.001" if versus.p_holm < 0.001 else f"p {number(versus.p_holm)}"
        text.append(f"\n{p} {versus.verdict}" if span else "\nno interval", style=_STYLES[versus.verdict])
    return text


def _interval(span: tuple[float, float] | None, *, sign: bool = False) -> str:
    if span is None:
        return ""
    return f"[{number(span[0], sign=sign)} {number(span[1], sign=sign)}]"
