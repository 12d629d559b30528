"""How hard the negatives are: scores, distance to the positive, and ranks, by source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.report import charts
from foils.report.blocks import Block, Plot, Section, Table, Words
from foils.report.figures import count, real, share
from foils.report.tally import DROPPED, KEPT, POSITIVES, Fine, Tally, band_names, coarse

_PANELS = 6  # sources with a plot of their own; others are in the table


def hardness(found: Tally, latest: str | None) -> Section | None:
    """Histograms per source and rank.

    Args:
        found: counts of the parts.
        latest: the score column that ``score`` means, if one does.
    """
    if not found.ranked:
        return None
    lead = (
        "Hardness is the score of a negative less that of its query's lowest-scoring positive. At 0 it scores as the "
        "positive does; right of 0 a model of this score would rank it above the positive, which is where false "
        "negatives are."
    )
    blocks: list[Block] = []
    ordered = sorted(found.margins, key=lambda name: -_total(found.margins[name]))
    ordered = [name for name in ordered if _total(found.margins[name])]
    blocks += [_margins(number, name, found) for number, name in enumerate(ordered[:_PANELS])]
    if not ordered:
        blocks.append(Words("No negative has a score to compare with its positive's."))
    names = [name for name in found.scores if name == latest] or list(found.scores)
    blocks += [_scores(number, name, found.scores[name]) for number, name in enumerate(names[:_PANELS])]
    blocks.append(_by_rank(found))
    return Section("hardness", "Hardness", blocks, lead)


def _total(kinds: Mapping[str, Fine]) -> int:
    return sum(fine.total for fine in kinds.values())


def _margins(number: int, source: str, found: Tally) -> Plot:
    kinds = found.margins[source]
    edges, counts = coarse(kinds)
    shown = [name for name in band_names() if kinds[name].total]
    values = _binned(edges, {name: counts[name] for name in shown})
    by = found.by[source]
    colours = charts.ramp(shown)["range"]
    title = f"{by}, negative less positive"
    spec = charts.over(
        charts.histogram(title, shown, colours, stack=True, key="rank"), charts.zero_rule("as the positive")
    )
    above, known = found.above[source]
    note = f"{count(known)} negatives; {share(above / max(1, known))} score above their positive. Score: {by}."
    return Plot(f"hardness-{number}", f"Negatives found by {source}", spec, values, note, height=200)


def _scores(number: int, name: str, kinds: Mapping[str, Fine]) -> Plot:
    edges, counts = coarse(dict(kinds))
    values = _binned(edges, counts)
    for value in values:
        value["share"] = value["n"] / max(1, kinds[value["kind"]].total)
    colours = [charts.POSITIVE, charts.NEGATIVE, charts.DROPPED]
    spec = charts.histogram(f"score {name}", [POSITIVES, KEPT, DROPPED], colours, stack=False, key=None)
    note = "Shares of each kind: " + ", ".join(f"{count(fine.total)} {kind}" for kind, fine in kinds.items()) + "."
    return Plot(f"scores-{number}", f"Scores by {name}", spec, values, note, height=200)


def _binned(edges: NDArray[np.float64], counts: Mapping[str, NDArray[np.int64]]) -> list[dict[str, Any]]:
    return [
        {"lo": round(float(edges[i]), 6), "hi": round(float(edges[i + 1]), 6), "kind": name, "n": n, "place": place}
        for place, (name, numbers) in enumerate(counts.items())
        for i, n in enumerate(numbers.tolist())
        if n
    ]


def _by_rank(found: Tally) -> Table:
    rows, names = [], band_names()
    for source in sorted(found.ranked):
        for band, (candidates, kept) in zip(names, found.ranked[source].tolist(), strict=True):
            if not candidates:
                continue
            fine = found.margins.get(source, {}).get(band)
            known = fine is not None and fine.total
            middle = [real(fine.quantile(q)) for q in (0.5, 0.9)] if known and fine is not None else ["", ""]
            rows.append([source, band, count(candidates), count(kept), share(kept / candidates), *middle])
    head = ("Source", "Rank", "Candidates", "Negatives", "Kept", "Hardness, median", "90 %")
    note = "Raw ranks: positions among all that the source returned. A candidate of several sources counts for each."
    return Table("Kept by source and rank", head, rows, (2, 3, 4, 5, 6), note=note)
