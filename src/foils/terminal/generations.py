"""Generations of negatives as a person sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from foils.terminal.layout import columns, facts

_SHOWN = 8  # documents by id, of those that came and those that left


def generations(listed: Sequence[Mapping[str, Any]]) -> RenderableType:
    """One line a generation: step, use, agreement with the one before, time, and whether one can go back to it."""
    if len(listed) <= 1:
        return Text("This run has mined nothing while it trained.")
    grid = columns("", "step", "used", "overlap@10", "RBO", "new", "encoded", "seconds", "back", right=range(8))
    for row in listed:
        grid.add_row(
            str(row["number"]),
            f"{row['step']:,}",
            f"{row['used_from']:,}" if "used_from" in row else "",
            *(_share(row.get(name)) for name in ("overlap@10", "rbo", "churn", "encoded")),
            f"{row['seconds']:,.1f}" if "seconds" in row else "",
            "yes" if row["checkpoint"] else "",
        )
    notes = "overlap@10, RBO: candidates against the generation before; new: share of the negatives; "
    return Group(grid, Text(notes + "back: foils rollback can go back to it."))


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def difference(report: Mapping[str, Any]) -> RenderableType:
    """How much agrees, and the queries that changed most."""
    named = {"queries": "queries of both", "rbo": "rank-biased overlap", "churn": "new negatives"}
    rows = [(named.get(name, name), value) for name, value in report.items() if name != "changed"]
    parts: list[RenderableType] = [facts(rows)]
    for query in report["changed"]:
        parts += [Text(""), Text(f"{query['query_id']}: {' '.join(query['query'].split())[:200]}")]
        for word in ("came", "left"):
            more = f" and {len(query[word]) - _SHOWN} more" if len(query[word]) > _SHOWN else ""
            parts.append(Text(escape(f"  {word}: {', '.join(query[word][:_SHOWN]) or 'none'}{more}")))
    return Group(*parts)
