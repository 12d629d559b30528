"""Written texts as a person sees them: what was accepted, what was rejected and why, examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from foils.terminal.layout import columns, facts

_LONG = 240  # characters of a text in an example
_REJECTED = 2  # examples of rejected texts


def written(record: Mapping[str, Any]) -> RenderableType:
    """What came of it, per kind and check.

    Args:
        record: what `foils.writing.Writing.record` says, and ``out``.
    """
    report = record["report"]
    parts: list[RenderableType] = [Text(record["author"], overflow="fold"), Text(""), facts(_head(record, report))]
    parts += [Text(""), _kinds(report["kinds"])]
    if report["drafts"] and not report["accepted"]:
        parts.append(Text("No text was accepted: look at the reasons in drafts.parquet.", style="yellow"))
    parts += _examples(report["examples"])
    return Group(*parts, Text(""), Text(f"in {record['out']}; every command takes it in place of the collection."))


def planned(record: Mapping[str, Any]) -> RenderableType:
    """What would be asked, and what it would cost."""
    rows = [("to write from", f"{record['rows']:,}{_skipped(record['skipped'])}")]
    rows.append(("would ask", record.get("estimate", "nobody")))
    return Group(Text(record["author"], overflow="fold"), Text(""), facts(rows))


def _head(record: Mapping[str, Any], report: Mapping[str, Any]) -> list[tuple[str, Any]]:
    share = f" ({report['accepted'] / report['drafts']:.0%})" if report["drafts"] else ""
    rows: list[tuple[str, Any]] = [
        ("accepted", f"{report['accepted']:,} of {report['drafts']:,} drafts{share}"),
        ("new", f"{report['documents']:,} documents, {report['queries']:,} queries{_skipped(report['skipped'])}"),
    ]
    if record["tally"]:
        rows.append(("besides", ", ".join(f"{count:,} {name}" for name, count in record["tally"].items())))
    if record["spent"]:
        spent = record["spent"]
        read, wrote = spent["tokens"]
        cost = f", cost {spent['cost']:.4g}" if "cost" in spent else ""
        asked = f"{spent['calls']:,} calls ({spent['kept']:,} kept), {read:,} + {wrote:,} tokens{cost}"
        rows.append((", ".join(record["models"]), asked))
    return rows


def _skipped(count: int) -> str:
    return f"; {count:,} held out (--leaks keep)" if count else ""


def _kinds(kinds: Sequence[Mapping[str, Any]]) -> RenderableType:
    grid = columns("for", "kind", "drafts", "accepted", "rejected by", right=(2, 3))
    for one in kinds:
        rejected = sorted(one["rejected"].items(), key=lambda item: (-item[1], item[0]))
        words = ", ".join(f"{name} {count:,}" for name, count in rejected)
        grid.add_row(one["role"], escape(one["kind"]), f"{one['drafts']:,}", f"{one['accepted']:,}", escape(words))
    return grid


def _examples(listed: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    accepted = [one for one in listed if one["accepted"]][:1]
    rejected = [one for one in listed if not one["accepted"]][:_REJECTED]
    parts: list[RenderableType] = []
    for one in (*accepted, *rejected):
        parts += [Text(""), Text(f"{one['query_id'] or one['doc_id']}  {one['kind']}", style="bold")]
        sign, style = ("+", "green") if one["accepted"] else ("-", "red")
        title = f"{one['title']} " if one["title"] else ""
        parts.append(Padding(Text(f"{sign} {(title + one['text'])[:_LONG]}", style=style), (0, 0, 0, 2)))
        changes = dict.fromkeys(f"{edit['before']!r} → {edit['after']!r}" for edit in one["edits"] or ())
        edits = "; ".join(changes)
        for line in (edits[:_LONG], one["reason"]):
            if line:
                parts.append(Padding(Text(line, style="dim"), (0, 0, 0, 4)))
    return parts
