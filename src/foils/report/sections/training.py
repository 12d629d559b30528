"""How training went: loss, dev measures, figures of health, and what happened when."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from foils.report import charts
from foils.report.blocks import Block, Plot, Section, Table, Words
from foils.report.figures import count, real
from foils.report.sections.tasks import others
from foils.report.subject import Training
from foils.train.dev import METRIC
from foils.train.guard.record import BREACHES, described, went
from foils.train.probing import PROBE, sentences
from foils.train.refresh.rollback import ROLLBACKS

_ROWS = 60  # of the table of figures
_MOST = 400  # points of a line; of more, every n-th is shown
_SHARE = ".1~%"
_HEALTH = (
    (
        "gap",
        "Gap",
        "score of the positive less that of its negatives",
        ".3~f",
        {"gap": "mean", "gap_hardest": "hardest"},
    ),
    (
        "above",
        "Negatives above the positive",
        "share of own negatives; a trend of false negatives",
        _SHARE,
        {"above": "student"},
    ),
    ("violations", "Rows with a negative above the positive", "share of rows", _SHARE, {"violations": "rows"}),
    (
        "effective",
        "Negatives that count",
        "exp of the entropy of a row's push",
        ".3~f",
        {"effective": "count", "negatives": "are there"},
    ),
    ("uniformity", "Uniformity", "0 is a collapse, about −4 is spread out", ".3~f", {"uniformity": "uniformity"}),
    ("rank", "Effective rank", "dimensions that the documents of a step use", ".3~f", {"effective_rank": "rank"}),
    (
        "document",
        "Most pushed document",
        "its share of the push, and of the rows where it is pushed most",
        _SHARE,
        {"top_document": "of the push", "top_rows": "of the rows"},
    ),
)


def training(one: Training) -> Section | None:
    """Curves of one training, with refreshes, breaches and rollbacks marked."""
    if not one.history and not one.looks and not one.curve:
        return None
    marks = events(one)
    tag = f"-{one.name}" if one.name else ""
    blocks: list[Block] = [
        Words(f"Step {count(entry['step'])}: {described(entry)}: {went(entry)}.", "bad")
        for entry in one.record.get(BREACHES, ())
    ]
    for entry in one.record.get(ROLLBACKS, ()):
        text = f"Rolled back to step {count(entry['step'])} and generation {entry['to']}; newer ones are in "
        blocks.append(Words(f"{text}{entry['aside']}.", "warn"))
    blocks += _worse(one)
    dev = _dev(one, tag, marks)
    blocks += [*dev[:1], *_loss(one, tag, marks), *dev[1:]]
    blocks += others(one, tag, marks)
    blocks += _probe(one, tag)
    blocks += _health(one, tag, marks)
    planned = f" of {count(one.steps)}" if one.steps and not one.finished else ""
    lead = f"{count(one.reached)}{planned} steps."
    if one.best:
        lead += f" The weights of step {count(one.best)} " + ("were taken." if one.finished else "are the best so far.")
    title = f"Training: {one.name}" if one.name else "Training"
    return Section(f"training{tag}", title, blocks, lead)


def events(one: Training) -> list[dict[str, Any]]:
    """Refreshes, breaches and rollbacks with their steps."""
    marks = []
    for entry in one.generations:
        step = entry.get("used_from", entry["step"])
        text = f"generation {entry['number']} in use, mined with the weights of step {entry['step']:,}"
        if "used_from" not in entry:
            text = f"generation {entry['number']} mined, not in use yet"
        marks.append({"step": step, "text": text, "short": f"gen {entry['number']}", "tone": "refresh"})
    for entry in one.record.get(BREACHES, ()):
        text = f"{described(entry)}: {went(entry)}"
        marks.append({"step": entry["step"], "text": text, "short": "breach", "tone": "breach"})
    for entry in one.record.get(ROLLBACKS, ()):
        text = f"rolled back to generation {entry['to']}"
        marks.append({"step": entry["step"], "text": text, "short": "back to here", "tone": "rollback"})
    return sorted(marks, key=lambda mark: (mark["step"], mark["tone"]))


def points(entries: Sequence[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Values for lines: finite numbers of some fields, thinned out evenly where there are very many."""
    every = max(1, -(-len(entries) // _MOST))
    chosen = [entry for i, entry in enumerate(entries) if i % every == 0 or i == len(entries) - 1]
    return [
        {"step": entry["step"], "kind": name, "value": float(f"{entry[name]:.6g}")}
        for name in names
        for entry in chosen
        if isinstance(entry.get(name), int | float) and math.isfinite(entry[name])
    ]


def _probe(one: Training, tag: str) -> list[Block]:
    """Whether the vectors give written negatives away, at the start and at the end."""
    found = one.record.get(PROBE, ())
    if not found:
        return []
    values = [
        {
            "name": f"at the {entry['when']}",
            **{key: entry["accuracy"][key] for key in ("value", "low", "high")},
            "ref": 0.5,
            "tone": "strong" if entry["alarm"] else "",
            "n": count(2 * entry["each"]),
            "label": f"at the {entry['when']}: {real(entry['accuracy']['value'])}",
        }
        for entry in found
    ]
    note = (
        f"Balanced accuracy of a linear classifier on the model's vectors that tells {found[0]['one']} negatives from "
        f"{found[0]['other']}, with its 95 % interval. Tick: not told apart. Above 0.9 the source gives itself away."
    )
    spec = charts.intervals("balanced accuracy", ".2f", ticks=True)
    plot = Plot(f"probe{tag}", "Source probe", spec, values, note, height=40 * len(values) + 40)
    return [*(Words(text, "warn" if wrong else "") for text, wrong in sentences(one.record)), plot]


def _worse(one: Training) -> list[Block]:
    by_step = {int(point["step"]): point for point in one.curve}
    if one.best is None or 0 not in by_step or METRIC not in by_step[0]:
        return []
    best, start = by_step[one.best][METRIC], by_step[0][METRIC]
    if best >= start:
        return []
    return [Words(f"Dev {METRIC} has not come above the start model's {real(start)}: {real(best)} at best.", "bad")]


def _dev(one: Training, tag: str, marks: list[dict[str, Any]]) -> list[Block]:
    curve = one.curve
    if not curve:
        return []
    names = [name for name in curve[0] if name != "step"]
    values = points(curve, names)
    for value in values:
        if value["kind"] == METRIC and value["step"] in one.spans:
            value["low"], value["high"] = (float(f"{end:.6g}") for end in one.spans[int(value["step"])])
    best = [{"step": one.best, "text": "best on dev", "short": "best", "tone": "best"}] if one.best else []
    spec = charts.curves("", names, points=True, marks=[*marks, *best], band=bool(one.spans))
    held = one.record.get("counts", {}).get("dev", {})
    size = f"{count(held['queries'])} held-out queries against {count(held['documents'])} documents. " if held else ""
    luck = "Means of one look each: no interval was kept of them."
    if one.spans:
        luck = f"Band: 95 % bootstrap interval of {METRIC} over these queries; looks share them, so luck of their draw "
        luck += "is alike in all."
    note = f"{size}Step 0 is the start model. {luck}"
    plot = Plot(f"dev{tag}", "Dev measures", spec, values, note)
    rows = [
        [
            count(point["step"]),
            *(f"{point[name]:.4f}" for name in names),
            *([_span(one, int(point["step"]))] if one.spans else []),
            "taken" if point["step"] == one.best else "",
        ]
        for point in curve
    ]
    head = ("Step", *names, *([f"95 % of {METRIC}"] if one.spans else []), "")
    tones = {i: "strong" for i, point in enumerate(curve) if point["step"] == one.best}
    table = Table("Dev measures by step", head, rows, tuple(range(len(head) - 1)), tones, folded=True)
    return [plot, table]


def _span(one: Training, step: int) -> str:
    return "[{:.4f}, {:.4f}]".format(*one.spans[step]) if step in one.spans else ""


def _loss(one: Training, tag: str, marks: list[dict[str, Any]]) -> list[Block]:
    values = points(one.looks, ("loss",))
    if not values:
        return []
    note = "Mean loss between two log entries. Another generation of negatives is another loss: do not compare across."
    return [Plot(f"loss{tag}", "Loss", charts.curves("", ("loss",), marks=marks), values, note if marks else "")]


def _health(one: Training, tag: str, marks: list[dict[str, Any]]) -> list[Block]:
    blocks: list[Block] = []
    if one.looks and not any(entry.get("negatives", 1) for entry in one.looks):
        idle = "No step had a negative, so the loss was 0 and nothing was learnt: look at contrast and batch size."
        blocks.append(Words(idle, "bad"))
    for name, title, note, form, fields in _HEALTH:
        further = [f for f in _fields(one) if name == "above" and f.startswith("above_")]
        called = {**fields, **{field: field.removeprefix("above_") for field in further}}
        names = [field for field in called if any(field in entry for entry in one.looks)]
        values = [{**value, "kind": called[value["kind"]]} for value in points(one.looks, names)]
        if values:
            wrong = [mark for mark in marks if mark["tone"] != "refresh"]
            spec = charts.curves("", [called[field] for field in names], form=form, marks=wrong)
            blocks.append(Plot(f"health-{name}{tag}", title, spec, values, f"{note[0].upper()}{note[1:]}.", height=140))
    for prefix, title, form in (("share/", "Push by source", _SHARE), ("gap/", "Gap by source", ".3~f")):
        names = [field for field in _fields(one) if field.startswith(prefix) and "ranks" not in field]
        values = [{**v, "kind": v["kind"].removeprefix(prefix)} for v in points(one.looks, names)]
        if len(names) > 1 and values:
            shown = [name.removeprefix(prefix) for name in names]
            blocks.append(Plot(f"{prefix[:-1]}{tag}", title, charts.curves("", shown, form=form), values, height=140))
    bands = sorted((f for f in _fields(one) if f.startswith("share/ranks ")), key=_first_number)
    values = [{**v, "kind": v["kind"].removeprefix("share/")} for v in points(one.looks, bands)]
    if values:
        shown = [name.removeprefix("share/") for name in bands]
        note = "Share of the step's push that comes from own negatives of these raw ranks."
        blocks.append(
            Plot(f"ranks{tag}", "Push by rank", charts.curves("", shown, form=_SHARE), values, note, height=140)
        )
    return [*blocks, *_table(one)]


def _table(one: Training) -> list[Block]:
    """The same figures for whoever cannot see the plots, thinned out."""
    names = [field for *_, fields in _HEALTH for field in fields if any(field in entry for entry in one.looks)]
    if not names:
        return []
    every = max(1, -(-len(one.looks) // _ROWS))
    rows = [
        [count(entry["step"]), *(real(entry.get(name)) for name in ("loss", *names))] for entry in one.looks[::every]
    ]
    head = ("Step", "Loss", *(name.replace("_", " ") for name in names))
    return [Table("Figures of training by step", head, rows, tuple(range(len(head))), folded=True)]


def _fields(one: Training) -> list[str]:
    return list(dict.fromkeys(name for entry in one.looks for name in entry))


def _first_number(name: str) -> int:
    digits = "".join(c if c.isdecimal() else " " for c in name).split()
    return int(digits[0]) if digits else 0


def last_looks(one: Training) -> list[tuple[str, str]]:
    """The newest figures, for the head of a live page."""
    if not one.looks:
        return []
    newest = one.looks[-1]
    return [(name, real(newest[name])) for name in ("loss", "gap", "effective", "uniformity") if name in newest]
