"""Which negatives drove the model: what training logged of each one's push."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foils.report import charts
from foils.report.blocks import Block, Facts, Plot, Section, Table
from foils.report.figures import flat, real

_MOST = 25
_LONG = 220


def influential(influence: Mapping[str, Any]) -> Section | None:
    """Every list of the file as a table, every mapping of numbers as bars, the rest as facts."""
    facts: list[tuple[str, str]] = []
    blocks: list[Block] = []
    for name, value in influence.items():
        if name in ("kind", "version"):
            continue
        title = name.replace("_", " ").capitalize()
        if isinstance(value, Mapping) and value and all(_number(v) for v in value.values()):
            blocks.append(_bars(name, title, value))
        elif isinstance(value, Mapping) and value and all(isinstance(v, Mapping) for v in value.values()):
            blocks.append(_table(title, [{"name": key, **row} for key, row in value.items()]))
        elif isinstance(value, Mapping):
            facts += [(f"{title}: {key}", _cell(item)) for key, item in value.items()]
        elif isinstance(value, Sequence) and not isinstance(value, str):
            rows = [row for row in value if isinstance(row, Mapping)]
            if rows:
                blocks.append(_table(title, rows))
        elif value is not None:
            facts.append((title, _cell(value)))
    if facts:
        blocks.insert(0, Facts(facts))
    return Section("influence", "Influence", blocks) if blocks else None


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bars(name: str, title: str, value: Mapping[str, float]) -> Plot:
    ordered = sorted(value.items(), key=lambda item: -item[1])[:_MOST]
    values = [
        {
            "name": key,
            "value": number,
            "low": None,
            "high": None,
            "tone": "",
            "n": "",
            "label": f"{key}   {real(number)}",
        }
        for key, number in ordered
    ]
    safe = "".join(c if c.isalnum() else "-" for c in name)
    return Plot(f"influence-{safe}", title, charts.intervals(title), values, height=34 * len(values) + 40)


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    shown = rows[:_MOST]
    names = list(dict.fromkeys(name for row in shown for name, value in row.items() if not isinstance(value, list)))
    right = tuple(i for i, name in enumerate(names) if any(_number(row.get(name)) for row in shown))
    cells = [[_cell(row.get(name)) for name in names] for row in shown]
    note = f"The first {_MOST} of {len(rows):,}." if len(rows) > _MOST else ""
    return Table(title, [name.replace("_", " ") for name in names], cells, right, note=note)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return real(value) if isinstance(value, float) else flat(str(value), _LONG)
