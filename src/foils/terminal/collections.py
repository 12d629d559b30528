"""A collection as a person sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from foils.terminal.layout import columns, facts

_SHOWN_ABOVE = ("documents", "queries", "splits", "name", "source")


def inspected(summary: Mapping[str, Any]) -> RenderableType:
    """A collection at a glance."""
    splits = columns("split", "queries", "positives", "per query", "", right=(1, 2, 3))
    for split in summary["splits"]:
        note = f"{split['queries_also_in']} queries also in other splits" if split["queries_also_in"] else ""
        splits.add_row(
            split["name"],
            f"{split['queries']:,}",
            f"{split['positives']:,}",
            f"{split['positives_per_query']:.2f}",
            note,
        )
    head = facts((name, summary[name]) for name in ("name", "documents", "queries", "document_words", "query_words"))
    shown = {name: value for name, value in summary["report"].items() if value and name not in _SHOWN_ABOVE}
    found = facts((name.replace("_", " "), value) for name, value in shown.items())
    parts: list[RenderableType] = [head, Text(""), splits]
    if shown:
        parts += [Text("\nfound on import:", style="bold"), Padding(found, (0, 0, 0, 2))]
    return Group(*parts, _samples(summary["examples"]))


def _samples(samples: Sequence[Mapping[str, str]]) -> RenderableType:
    lines: list[RenderableType] = [Text(""), Text("examples:", style="bold")]
    for sample in samples:
        lines.append(Padding(Text(f"{sample['query_id']}  {sample['query']}"), (0, 0, 0, 2)))
        lines.append(Padding(Text(f"+ {sample['doc_id']}  {sample['document'][:200]}", style="dim"), (0, 0, 0, 4)))
    return Group(*lines)
