"""Generations of negatives: how stale they were, and how much of each was new."""

from __future__ import annotations

from foils.report import charts
from foils.report.blocks import Block, Plot, Section, Table
from foils.report.figures import count, duration, real, share
from foils.report.subject import Training

_KINDS = (("overlap@10", "candidates in common, 10 best"), ("rbo", "rank-biased overlap"), ("churn", "new negatives"))


def refreshed(one: Training) -> Section | None:
    """Staleness and churn per generation."""
    listed = one.generations
    if not listed:
        return None
    tag = f"-{one.name}" if one.name else ""
    blocks: list[Block] = []
    named = [(field, name) for field, name in _KINDS if any(field in entry for entry in listed)]
    values = [
        {"step": entry["number"], "kind": name, "value": entry[field]}
        for field, name in named
        for entry in listed
        if entry.get(field) is not None
    ]
    if values:
        spec = charts.curves("", [name for _, name in named], form=".1~%", zero=True, points=True, x="generation")
        note = "Against the generation before it. New: share of its negatives that were none before."
        blocks.append(Plot(f"churn{tag}", "How much a refresh changes", spec, values, note, height=180))
    stale = [
        {"x": str(entry["number"]), "y": entry["staleness"]} for entry in listed if entry.get("staleness") is not None
    ]
    if any(value["y"] for value in stale):
        hover = charts.tip(("x", "generation"), ("y", "steps", ","))
        spec = charts.bars("generation", "steps", hover)
        note = "Steps between the weights that mined a generation and the first step that used it."
        blocks.append(Plot(f"staleness{tag}", "Staleness", spec, stale, note, {"x": "Generation", "y": "Steps"}, 160))
    rows = [
        [
            str(entry["number"]),
            count(entry["step"]),
            count(entry.get("used_from")),
            count(entry.get("staleness")),
            *(real(entry.get(name)) for name in ("overlap@10", "rbo", "churn")),
            share(entry.get("hub")),
            share(entry.get("encoded")),
            duration(entry.get("seconds")),
        ]
        for entry in listed
    ]
    head = ("", "Mined at", "Used from", "Steps behind", "Overlap@10", "RBO", "New", "Hub", "Encoded", "Time")
    note = "Hub: largest share of the queries that have one document as a negative. Encoded: share of the documents."
    blocks.append(Table("Generations", head, rows, tuple(range(10)), note=note))
    title = f"Refreshes: {one.name}" if one.name else "Refreshes"
    return Section(f"generations{tag}", title, blocks)
