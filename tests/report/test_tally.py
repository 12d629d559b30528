"""Counts of all pairs, against a slow loop."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow.parquet as pq

from foils.core.ranks import RANKS
from foils.report.tally import Fine, band_names, coarse, tally


def slow(negatives):
    """The same from rows as dictionaries."""
    rows = [row for part in negatives.parts() for row in pq.read_table(part).to_pylist()]
    least = {}
    for row in rows:
        if row["label"] == 1 and row["score.student"] is not None:
            least[row["query"]] = min(least.get(row["query"], np.inf), row["score.student"])
    ranked, above, dropped, kept = Counter(), Counter(), Counter(), Counter()
    for row in rows:
        if row["label"] != 0:
            continue
        for source in set(row["source"].split("+")) - {"qrels"}:
            rank = row[f"rank.{source}"]
            band = next(i for i, (lo, hi) in enumerate(RANKS) if lo <= rank <= (hi or np.inf))
            ranked[source, band, "candidates"] += 1
            if row["dropped"] is None:
                ranked[source, band, "kept"] += 1
                above[source] += row["score.student"] > least[row["query"]]
            else:
                dropped[row["dropped"], source] += 1
        kept[row["query"]] += row["dropped"] is None
    return ranked, above, dropped, kept


def test_counts_are_those_of_a_loop_over_rows(negatives):
    found = tally(negatives)
    ranked, above, dropped, kept = slow(negatives)
    assert set(found.ranked) == {"bm25", "student"}
    for source, table in found.ranked.items():
        for band in range(len(RANKS)):
            counts = (ranked[source, band, "candidates"], ranked[source, band, "kept"])
            assert tuple(table[band]) == counts
            assert found.margins[source][band_names()[band]].total == counts[1]
        assert found.above[source] == [above[source], table[:, 1].sum()]
    assert {(r, s): n for r, by in found.steps.items() for s, n in by.items() if n} == dict(dropped)
    scores = found.scores["student"]
    assert scores["negatives"].total == sum(kept.values()) == negatives.manifest["counts"]["kept"]
    assert scores["dropped"].total == negatives.manifest["counts"]["candidates"] - sum(kept.values())
    short = sorted(number for number in kept.values() if number < 4)
    assert [number for number, _ in found.short] == short[: found.most]
    assert all(kept[name] == number for number, name in found.short)


def test_coarse_bins_hold_everything_and_have_round_edges():
    rng = np.random.default_rng(0)
    kinds = {"a": Fine(-5, 5), "b": Fine(-5, 5)}
    values = {"a": rng.normal(size=5000), "b": rng.normal(1, 0.5, size=300)}
    for name, fine in kinds.items():
        fine.add(np.concatenate([values[name], [np.nan, np.inf]]))
    edges, counts = coarse(kinds)
    assert {name: number.sum() for name, number in counts.items()} == {"a": 5000, "b": 300}
    assert len(edges) < 100
    width = edges[1] - edges[0]
    np.testing.assert_allclose(np.diff(edges), width)
    np.testing.assert_allclose(edges / width, np.round(edges / width), atol=1e-6)
    exact = np.histogram(np.clip(values["b"], edges[0], edges[-1] - 1e-9), edges)[0]
    assert np.abs(exact - counts["b"]).sum() <= 0.02 * 300  # fine bins do not end where coarse ones do
    assert abs(kinds["a"].quantile(0.5) - np.median(values["a"])) < 0.01


def test_one_value_only_is_a_histogram_too():
    fine = Fine(1.0, 2.0)
    fine.add(np.full(7, 1.5))
    edges, counts = coarse({"a": fine})
    assert counts["a"].sum() == 7
    assert len(edges) >= 2
