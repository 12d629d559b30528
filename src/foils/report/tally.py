"""Histograms of all pairs of a folder of negatives, part by part, in bounded memory.

Hardness is told as the score less that of the lowest-scoring positive of the query, in the score that ``by='score'``
means; where after a pool no single score is meant, in the source's own. At 0 a negative scores as the positive does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from foils.core import segments
from foils.core.pairs import CANDIDATE, POSITIVE
from foils.core.ranks import RANKS, band_of
from foils.parts import RANK, SCORE, named
from foils.store import Negatives

_FINE = 4096  # bins while counting; pages show some dozens
_SHOWN = 48
_TAIL = 0.001  # of the mass that may lie beyond what is shown, on either side

POSITIVES, KEPT, DROPPED = "positives", "negatives", "dropped"
Counts = NDArray[np.int64]


def band_names() -> list[str]:
    """Names of the bands of ranks, and of what no source ranked."""
    return [f"{lo}–{hi}" if hi else f"{lo}+" for lo, hi in RANKS] + ["no rank"]


@dataclass
class Fine:
    """Counts in fine bins of equal width between two bounds.

    Attributes:
        low, high: bounds; what lies beyond counts in the outermost bins.
        counts: int64 (4096,).
    """

    low: float
    high: float
    counts: Counts = field(default_factory=lambda: np.zeros(_FINE, np.int64))

    def add(self, values: NDArray[np.floating]) -> None:
        """Count values; those that are no finite numbers are left out."""
        found = values[np.isfinite(values)].astype(np.float64)
        at = (found - self.low) * (_FINE / max(self.high - self.low, 1e-12))
        self.counts += np.bincount(np.clip(at, 0, _FINE - 1).astype(np.int64), minlength=_FINE)

    @property
    def total(self) -> int:
        """How many were counted."""
        return int(self.counts.sum())

    def quantile(self, share: float) -> float:
        """The middle of the fine bin in which that share is reached."""
        at = int(np.searchsorted(np.cumsum(self.counts), share * self.total))
        return self.low + (min(at, _FINE - 1) + 0.5) * (self.high - self.low) / _FINE


def coarse(kinds: dict[str, Fine]) -> tuple[NDArray[np.float64], dict[str, Counts]]:
    """Several histograms of the same bounds in the same few bins: their edges, and the counts of each.

    The bins are round numbers wide and cover of each all but a thousandth on either side; what lies beyond is counted
    in the outermost ones.
    """
    first = next(iter(kinds.values()))
    some = [fine for fine in kinds.values() if fine.total] or [first]
    low, high = min(fine.quantile(_TAIL) for fine in some), max(fine.quantile(1 - _TAIL) for fine in some)
    width = _round_up((high - low) / _SHOWN or 1e-3)
    begin = np.floor(low / width)
    edges = (begin + np.arange(np.floor(high / width) - begin + 2)) * width
    middles = first.low + (np.arange(_FINE) + 0.5) * (first.high - first.low) / _FINE
    at = np.clip(np.searchsorted(edges, middles, side="right") - 1, 0, len(edges) - 2)
    return edges, {name: np.bincount(at, fine.counts, len(edges) - 1).astype(np.int64) for name, fine in kinds.items()}


def _round_up(width: float) -> float:
    power = 10.0 ** np.floor(np.log10(width))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= width * (1 - 1e-9)))


@dataclass
class Tally:
    """What is counted of a folder of negatives.

    Attributes:
        scores: score column -> positives, negatives, dropped -> histogram.
        margins: source -> band -> histogram of the negatives' scores less the positive's.
        ranked: source -> int64 (bands, 2), candidates and negatives.
        by: source -> the score column its margins are in.
        above: source -> negatives that score above the positive, and negatives with a score.
        short: query ids that keep fewest negatives, with how many, fewest first; at most `most` of them.
        steps: reason -> dropped candidates, by source.
    """

    scores: dict[str, dict[str, Fine]] = field(default_factory=dict)
    margins: dict[str, dict[str, Fine]] = field(default_factory=dict)
    ranked: dict[str, Counts] = field(default_factory=dict)
    by: dict[str, str] = field(default_factory=dict)
    above: dict[str, list[int]] = field(default_factory=dict)
    short: list[tuple[int, str]] = field(default_factory=list)
    steps: dict[str, Counter[str]] = field(default_factory=dict)
    most: int = 30


def tally(store: Negatives) -> Tally:
    """Count a folder of negatives; reads every part once, without ids of documents.

    Args:
        store: the folder.

    Raises:
        StoreError: a part is missing.
    """
    found = Tally()
    bounds = _bounds(store)
    wanted = int(store.manifest["counts"]["wanted_per_query"] or 1)
    for path in store.parts():
        names = [name for name in pq.read_schema(path).names if name != "doc"]
        _count(found, _Part(pq.read_table(path, columns=names)), bounds, store.manifest["latest"], wanted)
    return found


class _Part:
    """The columns of one part as numpy arrays."""

    def __init__(self, table: pa.Table) -> None:
        ids = table["query"].combine_chunks()
        codes = ids.indices.to_numpy()
        order = np.argsort(codes, kind="stable") if np.any(codes[1:] < codes[:-1]) else slice(None)
        self.query, self.ids = codes[order], ids.dictionary
        self.starts = segments.starts_of(self.query)
        self.label = table["label"].to_numpy()[order]
        reasons = table["dropped"].combine_chunks()
        self.reasons: list[str] = reasons.dictionary.to_pylist()
        self.reason = reasons.indices.fill_null(-1).to_numpy()[order]
        origin = table["source"].combine_chunks()
        self.origins: list[list[str]] = [text.split("+") for text in origin.dictionary.to_pylist()]
        self.origin = origin.indices.to_numpy()[order]
        columns = table.column_names
        self.scores = {n: table[c].fill_null(float("nan")).to_numpy()[order] for n, c in named(SCORE, columns)}
        self.ranks = {n: table[c].fill_null(0).to_numpy()[order] for n, c in named(RANK, columns)}
        self.candidate = self.label == CANDIDATE
        self.kept = self.candidate & (self.reason < 0)

    def sources(self) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        for name in sorted({name for names in self.origins for name in names} - {"qrels"}):
            has = np.array([name in names for names in self.origins])
            yield name, has[self.origin]

    def band(self, source: str) -> NDArray[np.int64]:
        rank = self.ranks.get(source)
        if rank is None:
            return np.full(len(self.query), len(RANKS), np.int64)
        return band_of(rank, RANKS)

    def margin(self, by: str) -> NDArray[np.float64]:
        score = self.scores[by].astype(np.float64)
        known = (self.label == POSITIVE) & ~np.isnan(score)
        least = segments.reduce(self.scores[by], known, self.starts, "min")
        return np.asarray(score - np.repeat(least, np.diff(self.starts)), np.float64)


def _count(found: Tally, part: _Part, bounds: dict[str, tuple[float, float]], latest: str | None, wanted: int) -> None:
    kinds = {POSITIVES: part.label == POSITIVE, KEPT: part.kept, DROPPED: part.candidate & ~part.kept}
    for name, values in part.scores.items():
        here = found.scores.setdefault(name, {kind: Fine(*bounds[name]) for kind in kinds})
        for kind, rows in kinds.items():
            here[kind].add(values[rows])
    margins = {name: part.margin(name) for name in part.scores}
    for source, rows in part.sources():
        band = part.band(source)
        pair = found.ranked.setdefault(source, np.zeros((len(RANKS) + 1, 2), np.int64))
        pair[:, 0] += np.bincount(band[rows & part.candidate], minlength=len(RANKS) + 1)
        pair[:, 1] += np.bincount(band[rows & part.kept], minlength=len(RANKS) + 1)
        by = latest if latest is not None else source
        if by in margins:
            _harden(found, source, by, margins[by], rows & part.kept, band, bounds[by])
        codes = np.bincount(part.reason[rows & part.candidate & ~part.kept], minlength=len(part.reasons))
        for reason, number in zip(part.reasons, codes.tolist(), strict=False):
            found.steps.setdefault(reason, Counter())[source] += number
    _shortest(found, part, wanted)


def _harden(
    found: Tally,
    source: str,
    by: str,
    margin: NDArray[np.float64],
    rows: NDArray[np.bool_],
    band: NDArray[np.int64],
    bounds: tuple[float, float],
) -> None:
    low, high = bounds[0] - bounds[1], bounds[1] - bounds[0]
    found.by[source] = by
    here = found.margins.setdefault(source, {name: Fine(low, high) for name in band_names()})
    for number, name in enumerate(band_names()):
        here[name].add(margin[rows & (band == number)])
    known = rows & np.isfinite(margin)
    above = found.above.setdefault(source, [0, 0])
    above[0] += int((margin[known] > 0).sum())
    above[1] += int(known.sum())


def _shortest(found: Tally, part: _Part, wanted: int) -> None:
    codes = part.query[part.starts[:-1]]
    kept = segments.count(part.kept, part.starts)
    few = np.flatnonzero(kept < wanted)
    few = few[np.argsort(kept[few], kind="stable")[: found.most]]
    names = part.ids.take(pa.array(codes[few])).to_pylist()
    both = [*found.short, *zip(kept[few].tolist(), names, strict=True)]
    found.short = sorted(both, key=lambda pair: pair[0])[: found.most]


def _bounds(store: Negatives) -> dict[str, tuple[float, float]]:
    """The least and the largest finite value of each score column, from the files' own statistics."""
    found: dict[str, tuple[float, float]] = {}
    for path in store.parts():
        meta = pq.read_metadata(path)
        for group in range(meta.num_row_groups):
            for number in range(meta.num_columns):
                column = meta.row_group(group).column(number)
                name = column.path_in_schema
                if not name.startswith(SCORE):
                    continue
                stats = column.statistics
                if stats is None or not stats.has_min_max or not np.isfinite([stats.min, stats.max]).all():
                    low, high = _looked_up(path, name)
                else:
                    low, high = stats.min, stats.max
                before = found.get(name.removeprefix(SCORE), (low, high))
                found[name.removeprefix(SCORE)] = (min(before[0], low), max(before[1], high))
    return {name: (low, high if high > low else low + 1.0) for name, (low, high) in found.items()}


def _looked_up(path: object, name: str) -> tuple[float, float]:
    values = pq.read_table(path, columns=[name])[name].fill_null(float("nan")).to_numpy()
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
