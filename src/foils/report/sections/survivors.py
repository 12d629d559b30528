"""What each step of the pipeline left, and which queries it left short."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from foils.report import charts
from foils.report.blocks import Block, Plot, Section, Table, Words
from foils.report.figures import GAP, count, flat, share
from foils.report.tally import Tally
from foils.store import Negatives

_REMOVE = ("filter", "sampler", "labeler", "shortfall")
_MANY = 24  # different numbers of negatives per query, beyond which they are put together


def survivors(store: Negatives, found: Tally, texts: Sequence[str]) -> Section:
    """Counts of steps, negatives per query, and the queries with the shortest lists.

    Args:
        store: the folder.
        found: counts of its parts.
        texts: of the queries in ``found.short``; empty without a collection.
    """
    counts = store.manifest["counts"]
    lead = (
        f"{count(counts['queries'])} queries with {count(counts['positives'])} positives had "
        f"{count(counts['candidates'])} candidates; {count(counts['kept'])} of them are negatives now."
    )
    blocks: list[Block] = [_left(store), _per_query(store), _per_step(store, found)]
    if counts.get("promoted"):
        blocks.append(Words(f"{count(counts['promoted'])} candidates became positives."))
    if counts.get("skipped_leaks"):
        skipped = f"{count(counts['skipped_leaks'])} queries were left out: they are in a held-out split, too."
        blocks.append(Words(skipped, "warn"))
    blocks += _short(store, found, texts)
    return Section("survivors", "Survivors", blocks, lead)


def _left(store: Negatives) -> Plot:
    counts = store.manifest["counts"]
    left = before = int(counts["candidates"]) + int(counts.get("promoted", 0)) + int(counts.get("set_aside", 0))
    most = before
    values = []
    for step in store.manifest["steps"]:
        if step["family"] not in _REMOVE and not step["dropped"]:
            continue
        left = before - int(step["dropped"])
        change = f"−{count(step['dropped'])}" if step["dropped"] else "none dropped"
        values.append(
            {
                "place": step["number"],
                "step": step["text"],
                "left": left,
                "before": before,
                "dropped": step["dropped"],
                "starved": step["starved"],
                "label": f"{step['number']} {flat(step['text'], 60)}{GAP}{count(left)} left, {change}",
            }
        )
        before = left
    head = {"step": "Step", "left": "Candidates left", "dropped": "Dropped"}
    height = max(44, 44 * len(values))
    note = "Bar: candidates left after the step. Pale: what it dropped."
    return Plot(
        "survivors-steps", "Candidates left after each step", charts.steps_bars(most), values, note, head, height
    )


def _per_step(store: Negatives, found: Tally) -> Table:
    sources = sorted(found.ranked)
    rows = []
    for step in store.manifest["steps"]:
        reason = f"{step['number']}: {step['text']}"
        by = found.steps.get(reason, Counter())
        several = [count(by.get(name, 0)) if step["dropped"] else "" for name in sources] if len(sources) > 1 else []
        removes = step["family"] in _REMOVE
        numbers = [count(step["dropped"]), count(step["starved"])] if removes or step["dropped"] else ["", ""]
        rows.append([str(step["number"]), step["text"], *numbers, *several])
    head = ["", "Step", "Dropped", "Queries starved", *(f"of {name}" for name in sources if len(sources) > 1)]
    note = "Starved: queries that a step took candidates from and that end with fewer than asked for."
    if len(sources) > 1:
        note += " A candidate of several sources counts for each."
    return Table("Steps of the pipeline", head, rows, tuple(range(2, len(head))), note=note)


def _per_query(store: Negatives) -> Plot:
    kept = {int(number): times for number, times in store.manifest["counts"]["kept_per_query"].items() if times}
    width = -(-(max(kept, default=0) + 1) // _MANY)
    grouped: dict[int, int] = {}
    for number, times in kept.items():
        grouped[number // width] = grouped.get(number // width, 0) + times
    names = [str(n) if width == 1 else f"{n * width}–{n * width + width - 1}" for n in sorted(grouped)]
    values = [{"x": name, "y": grouped[n]} for name, n in zip(names, sorted(grouped), strict=True)]
    spec = charts.bars("negatives of a query", "queries", charts.tip(("x", "negatives"), ("y", "queries", ",")))
    head = {"x": "Negatives", "y": "Queries"}
    return Plot("survivors-queries", "How many negatives a query has", spec, values, "", head, 180)


def _short(store: Negatives, found: Tally, texts: Sequence[str]) -> list[Block]:
    counts = store.manifest["counts"]
    wanted = counts["wanted_per_query"] or 1
    short = sum(times for number, times in counts["kept_per_query"].items() if int(number) < wanted)
    if not short:
        return [Words(f"No query is starved: each has the {wanted} negatives asked for.", "good")]
    none = counts["kept_per_query"].get("0", 0)
    said = f"{count(short)} of {count(counts['queries'])} queries ({share(short / max(1, counts['queries']))}) have "
    said += f"fewer than {wanted} negatives; {count(none)} have none."
    blocks: list[Block] = [Words(said, "warn")]
    if found.short:
        rows = [
            [str(kept), name, flat(text, 120)]
            for (kept, name), text in zip(found.short, texts or [""] * len(found.short), strict=True)
        ]
        title = f"Starved queries, the first {len(rows)}" if short > len(rows) else "Starved queries"
        blocks.append(Table(title, ("Negatives", "Query", "Text"), rows, (0,), folded=True))
    return blocks
