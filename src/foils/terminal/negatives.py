"""Mined negatives: what a pipeline did, and examples with scores and reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from foils.examples import Example, Seen
from foils.terminal.layout import columns


def mined(manifest: Mapping[str, Any], where: str) -> RenderableType:
    """What a pipeline did, step by step, and how many negatives queries got."""
    counts = manifest["counts"]
    grid = columns("step", "", "dropped", "starved", right=(2, 3))
    for step in manifest["steps"]:
        removes = step["family"] in ("filter", "sampler")
        numbers = (f"{step['dropped']:,}", f"{step['starved']:,}") if removes or step["dropped"] else ("", "")
        if "filled" in step:
            numbers = (f"{step['filled']:,} filled", f"{step['short']:,} short")
        grid.add_row(str(step["number"]), escape(step["text"]), *numbers)
    lines: list[RenderableType] = [
        Text(f"{counts['queries']:,} queries, {counts['positives']:,} positives, {counts['candidates']:,} candidates"),
        grid,
        Text(f"{counts['kept']:,} negatives kept. Per query: {_histogram(counts['kept_per_query'])}"),
    ]
    for text, index in manifest.get("indexes", {}).items():
        found = f"{text}: finds {index['recall_at_k']:.1%} of the {index['k']} nearest"
        lines.append(Text(f"{found} (exact search on {index['sample']} queries)."))
    scored = [step for step in manifest["steps"] if "scored" in step]
    lines += [Text(f"{step['text']}: {step['scored']:,} pairs scored.") for step in scored]
    short = _short(manifest)
    if short:
        lines.append(Text(short, style="yellow"))
    if counts.get("skipped_leaks"):
        text = f"{counts['skipped_leaks']:,} queries were left out: they are in a held-out split, too (--leaks keep)."
        lines.append(Text(text, style="yellow"))
    if counts["promoted"]:
        lines.append(Text(f"{counts['promoted']:,} candidates became positives."))
    return Group(*lines, Text(f"in {where}"))


def _short(manifest: Mapping[str, Any]) -> str:
    counts = manifest["counts"]
    quota = counts["wanted_per_query"] or 1
    short = sum(times for number, times in counts["kept_per_query"].items() if int(number) < quota)
    if not short:
        return ""
    only_none = quota == 1 or short == counts["kept_per_query"].get("0", 0)
    fewer = "keep none" if only_none else f"keep fewer than {quota}; short lists are used as they are"
    # Of steps that took from as many, the last one: before it there may have been enough.
    taking = (step for step in manifest["steps"] if step["family"] in ("filter", "sampler"))
    worst = max(taking, key=lambda step: (step["starved"], step["number"]), default=None)
    if worst is not None and worst["starved"]:
        loaded = any(step["text"].startswith("Load(") for step in manifest["steps"])
        more = "mine with a larger k" if loaded else "raise k of the source"
        why = f"{worst['text']} took candidates from {worst['starved']:,} of them: loosen it, or {more}."
        if not loaded and all(step["family"] != "shortfall" for step in manifest["steps"]):
            why += " To fill lists up, add >> Ensure('deepen') or Ensure('random')."
    else:
        why = "Their sources found too few candidates: raise k, or add a source with '+'."
    return f"{short:,} of {counts['queries']:,} queries {fewer}. {why}"


def _histogram(kept: Mapping[str, int], most: int = 6) -> str:
    items = sorted((int(number), times) for number, times in kept.items() if times)  # JSON sorts them as texts
    if len(items) <= most:
        return ", ".join(f"{number} ({times:,})" for number, times in items)
    total = sum(times for _, times in items)
    mean = sum(number * times for number, times in items) / total
    return f"{items[0][0]} to {items[-1][0]}, mean {mean:.1f}; none: {dict(items).get(0, 0):,} queries"


def examples(shown: Sequence[Example]) -> RenderableType:
    """Queries with positives, negatives, and rejected candidates with the reason."""
    parts: list[RenderableType] = []
    for example in shown:
        parts.append(Text(f"{example.query}  {example.text}", style="bold", overflow="ellipsis"))
        parts.extend(_seen("+", item, "green") for item in example.positives[:3])
        if len(example.positives) > 3:
            parts.append(Padding(Text(f"… and {len(example.positives) - 3} more positives", style="dim"), (0, 0, 0, 2)))
        parts.extend(_seen("-", item, "red") for item in example.negatives)
        reason = None
        for item in example.rejected:
            if item.reason != reason:
                reason = item.reason
                parts.append(Padding(Text(f"dropped by {reason}", style="dim"), (0, 0, 0, 2)))
            parts.append(_seen("x", item, "dim"))
        parts.append(Text(""))
    return Group(*parts)


def _seen(sign: str, item: Seen, style: str) -> RenderableType:
    numbers = [
        f"{name} {score:.3f}" + (f" #{item.ranks[name]}" if name in item.ranks else "")
        for name, score in item.scores.items()
    ]
    numbers += [f"{name} #{rank}" for name, rank in item.ranks.items() if name not in item.scores]
    head = Text.assemble((f"{sign} ", style), (item.doc, style), ("  " + ", ".join(numbers), "dim"))
    text = " ".join(item.text.split())
    body = Text(text[:220] + ("…" if len(text) > 220 else ""))
    return Padding(Group(head, Padding(body, (0, 0, 0, 2))), (0, 0, 0, 2))
