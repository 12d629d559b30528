"""Generations of negatives as a person sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from foils.terminal.layout import columns, facts
from foils.terminal.runs import breaches

_SHOWN = 8  # documents by id, of those that came and those that left


def generations(listed: Sequence[Mapping[str, Any]], record: Mapping[str, Any]) -> RenderableType:
    """One line a generation: step, use, agreement with the one before, time, and whether one can go back to it.

    Args:
        listed: the generations.
        record: what ``run.json`` says; breaches of the guard stand below.
    """
    went_wrong = breaches(record)
    if len(listed) <= 1:
        return Group(Text("This run has mined nothing while it trained."), *went_wrong)
    grid = columns("", "step", "used", "overlap@10", "RBO", "new", "hub", "encoded", "seconds", "back", right=range(9))
    for row in listed:
        grid.add_row(
            str(row["number"]),
            f"{row['step']:,}",
            f"{row['used_from']:,}" if "used_from" in row else "",
            *(_share(row.get(name)) for name in ("overlap@10", "rbo", "churn", "hub", "encoded")),
            f"{row['seconds']:,.1f}" if "seconds" in row else "",
            "yes" if row["checkpoint"] else "",
        )
    notes = (
        "overlap@10, RBO: candidates against the generation before; new: share of the negatives; hub: largest share of "
        "the queries with one document as negative; back: foils rollback can go back to it."
    )
    return Group(grid, Text(notes), *_mixes(listed), *went_wrong)


def _mixes(listed: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """The shares of generations whose kinds of negatives follow training."""
    mixed = [row for row in listed if row.get("mix")]
    if not mixed:
        return []
    kinds = list(dict.fromkeys(kind for row in mixed for kind in row["mix"]))
    grid = columns("", *(f"share {kind}" for kind in kinds), right=range(len(kinds) + 1))
    for row in mixed:
        grid.add_row(str(row["number"]), *(_share(row["mix"].get(kind, {}).get("share")) for kind in kinds))
    return [Text(""), grid]


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
