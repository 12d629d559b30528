"""Which negatives drove the model, and what sets them apart in language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foils.core.collection import Collection
from foils.core.texts import Texts
from foils.report import charts
from foils.report.blocks import Block, Plot, Section, Table, Words
from foils.report.figures import GAP, count, flat, interval, real, share

_MOST = 20
_LONG = 200

Record = Mapping[str, Any]


def influential(influence: Record, phenomena: Record | None, data: Collection | None, name: str = "") -> Section | None:
    """Shares of the gradient by source, rank, document and query; and by phenomenon.

    Args:
        influence: ``influence.json``.
        phenomena: ``phenomena.json``, or None.
        data: the collection, for texts.
        name: of the phase.
    """
    tag = f"-{name}" if name else ""
    blocks: list[Block] = []
    for field, title in (("sources", "Gradient by source"), ("tiers", "Gradient by rank in the source")):
        if influence.get(field):
            blocks.append(_shares(f"influence-{field}{tag}", title, influence[field]))
    rows = [*_groups("source", influence.get("sources")), *_groups("ranks", influence.get("tiers"))]
    if rows:
        head = ("Negatives", "Times used", "Share", "Of the gradient", "Mean softmax mass", "Gap", "Above the positive")
        blocks.append(Table("By source and rank", head, rows, (1, 2, 3, 4, 5, 6)))
    blocks += _concentration(influence.get("concentration") or {})
    for field, side in (("documents", "doc_id"), ("queries", "query_id")):
        if influence.get(field):
            texts = None if data is None else data.corpus if field == "documents" else data.queries
            blocks.append(_top(field, influence[field], side, texts))
    blocks += [] if phenomena is None else _phenomena(phenomena, tag)
    if not blocks:
        return None
    lead = "The gradient of the loss by the score of each negative, summed over training."
    if influence.get("total"):
        lead += (
            f" {count(influence['total'].get('times'))} uses of negatives in {count(influence.get('batches'))} batches."
        )
    return Section(f"influence{tag}", f"Influence: {name}" if name else "Influence", blocks, lead)


def _shares(name: str, title: str, rows: Sequence[Record]) -> Plot:
    values = [
        {
            "name": row["name"],
            "value": row.get("gradient_share"),
            "other": row.get("times_share"),
            "label": f"{row['name']}{GAP}{share(row.get('gradient_share'))} of the gradient, "
            f"{share(row.get('times_share'))} of the uses",
        }
        for row in rows
    ]
    hover = charts.tip(("name", "negatives"), ("value", "of the gradient", ".1%"), ("other", "of the uses", ".1%"))
    note = "Bar: share of the gradient. Tick: share of the uses."
    return Plot(name, title, charts.labelled_bars(hover), values, note, height=max(44, 42 * len(values)))


def _groups(what: str, rows: Sequence[Record] | None) -> list[list[str]]:
    return [
        [
            row["name"] if what == "source" else f"{what} {row['name']}",
            count(row.get("times")),
            share(row.get("times_share")),
            share(row.get("gradient_share")),
            real(row.get("mean_mass")),
            real(row.get("gap")),
            share(row.get("above")),
        ]
        for row in rows or ()
    ]


def _concentration(found: Record) -> list[Block]:
    said = [
        f"{share(one.get('share'))} of the {count(one.get('number'))} {what}: {share(one.get('gradient_share'))}"
        for what, one in found.items()
        if isinstance(one, Mapping)
    ]
    return [Words(f"How concentrated the gradient is: the first {'; '.join(said)}.")] if said else []


def _top(field: str, rows: Sequence[Record], side: str, texts: Texts | None) -> Table:
    shown = rows[:_MOST]
    said: dict[str, str] = {}
    if texts is not None:
        ids = [str(row[side]) for row in shown]
        at = texts.rows_of(ids)
        known = [name for name, row in zip(ids, at.tolist(), strict=True) if row >= 0]
        said = dict(zip(known, texts.texts(at[at >= 0]), strict=True))
    listed = [
        [
            share(row.get("gradient_share")),
            count(row.get("times")),
            *([share(row.get("mined"))] if "mined" in shown[0] else []),
            str(row[side]),
            flat(said.get(str(row[side]), ""), _LONG),
        ]
        for row in shown
    ]
    mined = ["As mined"] if "mined" in shown[0] else []
    head = ("Of the gradient", "Times", *mined, "Document" if field == "documents" else "Query", "Text")
    title = f"Most influential {field}"
    return Table(title, head, listed, tuple(range(len(head) - 2)), folded=True)


def _phenomena(found: Record, tag: str) -> list[Block]:
    rows = [row for row in found.get("phenomena") or () if (row.get("gradient_share") or {}).get("value") is not None]
    if not rows:
        return []
    rows = sorted(rows, key=lambda row: -row["gradient_share"]["value"])
    values = [
        {
            "name": row["name"],
            **{key: row["gradient_share"].get(key) for key in ("value", "low", "high")},
            "ref": row["prevalence"].get("value"),
            "tone": _tone(row.get("lift") or {}),
            "n": count(row.get("pairs")),
            "label": f"{row['name']}{GAP}{interval(row['gradient_share'], percent=True)}, "
            f"in {share(row['prevalence'].get('value'))} of the negatives",
        }
        for row in rows
    ]
    note = (
        f"Of {count(found.get('pairs'))} influential negatives. Dot: share of the gradient with its interval. "
        "Tick: share of the negatives. Coloured: more or less gradient than their number, beyond the interval."
    )
    spec = charts.intervals("share of the gradient", ".0%", ticks=True)
    height = 40 * len(values) + 40
    listed = [
        [
            row["name"],
            str(row.get("says", "")),
            interval(row["prevalence"], percent=True),
            interval(row.get("lift") or {}),
        ]
        for row in rows
    ]
    shown = [
        [
            row["name"],
            *(flat(str(one.get(key) or ""), _LONG) for key in ("query", "positive_sentence", "document_sentence")),
        ]
        for row in rows
        for one in (row.get("examples") or ())[:2]
    ]
    blocks: list[Block] = [
        Plot(f"phenomena{tag}", "What sets negatives apart in language", spec, values, note, height=height),
        Table("Phenomena", ("", "What", "Share of the negatives", "Gradient over number"), listed, (2, 3), folded=True),
    ]
    if shown:
        head = ("", "Query", "In the positive", "In the negative")
        blocks.append(Table("Phenomena: examples", head, shown, folded=True))
    return blocks


def _tone(lift: Record) -> str:
    if lift.get("low") is not None and lift["low"] > 1:
        return "strong"
    return "good" if lift.get("high") is not None and lift["high"] < 1 else ""
