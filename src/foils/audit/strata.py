"""Strata: source, band of ranks, band of scores; and bands of difficulty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.audit.population import KEPT, Population
from foils.core.errors import SpecError
from foils.core.ranks import RANKS, Band, band_of

DIFFICULTY = ((1, 1), (2, 5), (6, 20), (21, None))
LEAST = 10  # items that may be judged, or an audit says nothing
_EACH = 8  # items judged of a stratum, on average, at least: bands of scores are as many as allow it
_MOST = 4

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Stratum:
    """One stratum.

    Attributes:
        fate: 0 of negatives, else the step that took its items out.
        source: name, or "all".
        ranks: first and last rank; None for no last one; (0, 0) where nothing has a rank; None for all.
        scores: lowest and highest score in it, or None.
    """

    fate: int
    source: str
    ranks: Band | None
    scores: tuple[float, float] | None


@dataclass(frozen=True, eq=False)
class Strata:
    """The strata of a population.

    Attributes:
        of: number of the stratum of each item, int64 (n,).
        listed: the strata.
    """

    of: Ints
    listed: tuple[Stratum, ...]

    @property
    def sizes(self) -> Ints:
        """Items of each, int64 (strata,)."""
        return np.bincount(self.of, minlength=len(self.listed)).astype(np.int64)


def stratify(found: Population, budget: int, dropped: int) -> Strata:
    """Negatives by source, band of ranks and band of scores; what a step took out by band of ranks.

    Bands of scores are quantiles within source and band of ranks, up to four, fewer where a stratum would have fewer
    than eight items judged on average. Where that is not enough, sources are not told apart, then not ranks either.

    Args:
        found: the population.
        budget: negatives to judge.
        dropped: items to judge of what each step took out.

    Raises:
        SpecError: a budget below 10.
    """
    if budget < LEAST:
        raise SpecError(f"budget={budget}: a rate of so few says nothing. Judge at least {LEAST}.")
    kept = np.flatnonzero(found.fate == KEPT)
    keys = _cells(found, kept, budget)
    of, listed = np.zeros(len(found), np.int64), _numbered(found, kept, keys)
    of[kept] = keys[2]
    for number in np.unique(found.fate[found.fate != KEPT]).tolist():
        mine = np.flatnonzero(found.fate == number)
        rank = band_of(found.rank[mine], RANKS)
        bands, place = np.unique(rank if dropped >= _EACH * len(np.unique(rank)) else rank * 0 - 1, return_inverse=True)
        of[mine] = len(listed) + place.reshape(-1)
        listed += [Stratum(number, "all", None if band < 0 else _band(band), None) for band in bands.tolist()]
    return Strata(of, tuple(listed))


def _cells(found: Population, kept: Ints, budget: int) -> tuple[Ints, Ints, Ints]:
    """Source (-1: all) and band of ranks (-1: all) of each negative, and the number of its stratum."""
    source, rank = found.source[kept], band_of(found.rank[kept], RANKS)
    for own, window in ((source, rank), (source * 0 - 1, rank), (source * 0 - 1, rank * 0 - 1)):
        cells, place = np.unique(np.stack([own, window]), axis=1, return_inverse=True)
        if budget >= _EACH * cells.shape[1] or cells.shape[1] == 1:
            break
    place = place.reshape(-1).astype(np.int64)
    bands = int(np.clip(budget // (_EACH * cells.shape[1]), 1, _MOST))
    share = _within(place, np.nan_to_num(found.score[kept], nan=-np.inf))
    _, number = np.unique(place * bands + np.minimum((share * bands).astype(np.int64), bands - 1), return_inverse=True)
    return own, window, number.reshape(-1).astype(np.int64)


def _within(group: Ints, value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Which share of its group has a lower value, highest first, 0 to 1; equal values have the same."""
    order = np.lexsort((-value, group))
    size = np.bincount(group)
    first = np.cumsum(size) - size
    place = np.empty(len(group))
    place[order] = np.arange(len(group)) - np.repeat(first, size)
    # The first of equal values decides for all of them.
    tie = np.ones(len(group), bool)
    tie[1:] = (value[order][1:] != value[order][:-1]) | (group[order][1:] != group[order][:-1])
    starts = np.flatnonzero(tie)
    place[order] = place[order][starts][np.cumsum(tie) - 1]
    share: NDArray[np.float64] = place / size[group]
    return share


def _numbered(found: Population, kept: Ints, keys: tuple[Ints, Ints, Ints]) -> list[Stratum]:
    source, window, number = keys
    count = int(number.max()) + 1
    first = np.full(count, -1, np.int64)
    first[number[::-1]] = np.arange(len(number))[::-1]
    score = found.score[kept]
    known = ~np.isnan(score)
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, number[known], score[known])
    np.maximum.at(high, number[known], score[known])
    listed = []
    for at in range(count):
        one, band = int(source[first[at]]), int(window[first[at]])
        scores = (float(low[at]), float(high[at])) if low[at] <= high[at] else None
        listed.append(
            Stratum(KEPT, "all" if one < 0 else found.sources[one], None if band < 0 else _band(band), scores)
        )
    return listed


def _band(number: int) -> Band:
    return RANKS[number] if number < len(RANKS) else (0, 0)


def described(stratum: Stratum) -> dict[str, Any]:
    """As JSON: source, ranks and scores."""
    ranks = None if stratum.ranks in (None, (0, 0)) else list(stratum.ranks or ())
    scores = None if stratum.scores is None else [round(value, 6) for value in stratum.scores]
    return {"source": stratum.source, "ranks": ranks, "scores": scores}
