"""The sample of an audit with its verdicts, and the rates of any part of the population."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.audit.estimators import Labelled, Rate, assisted, direct
from foils.audit.judges.protocol import RELEVANT, UNKNOWN, JudgeKind, Verdicts
from foils.audit.population import Population
from foils.audit.sampling import allocate, draw
from foils.audit.strata import Strata
from foils.core.collection import Collection

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
GRADED: tuple[JudgeKind, ...] = ("people", "consensus")  # whose shares are averaged, not their verdicts


@dataclass(frozen=True, eq=False)
class Drawn:
    """Items that are judged.

    Attributes:
        at: their places in the population, int64 (n,).
        weight: how many items each stands for, float64 (n,).
    """

    at: Ints
    weight: Floats

    @classmethod
    def of(cls, found: Population, strata: Strata, data: Collection, counts: tuple[int, int], seed: int) -> Drawn:
        """Draw so many negatives, and so many of what each step took out."""
        sizes, fates = strata.sizes, np.array([one.fate for one in strata.listed])
        count = np.zeros(len(sizes), np.int64)
        for fate in np.unique(fates).tolist():
            mine = fates == fate
            wanted = counts[0] if fate == 0 else counts[1]
            count[mine] = allocate(sizes[mine], wanted) if wanted else 0
        keys = data.queries.keys[found.query], data.corpus.keys[found.doc]
        return cls(*draw(strata.of, count, seed, keys))

    @classmethod
    def all(cls, found: Population) -> Drawn:
        """Everything."""
        return cls(np.arange(len(found)), np.ones(len(found)))


def shares(said: Verdicts, kind: JudgeKind) -> Floats:
    """How much of a false negative each item is, 0 to 1; NaN where that is unknown."""
    graded = kind in GRADED
    sure = np.where(said.verdict == UNKNOWN, np.nan, said.verdict == RELEVANT)
    chance = said.probability.astype(np.float64)
    return np.where(np.isnan(chance) | (not graded), sure, chance)


def auxiliary(said: Verdicts) -> Floats:
    """A cheap judge's word as a number: its probability, else its verdict, 0 where it knows nothing."""
    chance = said.probability.astype(np.float64)
    verdict = np.where(said.verdict == UNKNOWN, 0.0, said.verdict.astype(np.float64))
    return np.where(np.isnan(chance), verdict, chance)


@dataclass(frozen=True, eq=False)
class Judged:
    """A sample with verdicts.

    Attributes:
        strata: of the population.
        drawn: the sample.
        share: of each drawn item, NaN where it is unknown, float64 (n,).
        cheap: what the cheap judge says of all items (population) or of the drawn ones (sample), or None.
        everywhere: whether ``cheap`` is of all items.
        level: of the intervals.
    """

    strata: Strata
    drawn: Drawn
    share: Floats
    cheap: Floats | None
    everywhere: bool
    level: float

    @property
    def known(self) -> Bools:
        """Which drawn items have a verdict."""
        have: Bools = ~np.isnan(self.share)
        return have

    def weights(self, rows: Bools) -> Floats:
        """N_k/n_k of some of the drawn items, those that were drawn in vain left out, float64 (n,)."""
        stratum = self.strata.of[self.drawn.at]
        n = np.bincount(stratum[rows], minlength=len(self.strata.listed))
        each: Floats = (self.strata.sizes / np.maximum(n, 1))[stratum]
        return each

    def covers(self, part: Bools) -> bool:
        """Whether something was judged of each fate that a part of the population has."""
        fates = np.array([one.fate for one in self.strata.listed])
        stratum = self.strata.of
        seen = fates[stratum[self.drawn.at[self.known]]]
        return bool(np.isin(np.unique(fates[np.unique(stratum[part])]), seen).all()) if part.any() else False

    def rate(self, part: Bools) -> tuple[Rate, float | None]:
        """The rate of a part of the population, bool (items,), and the λ of its cheap judge.

        Each judged item stands for its share of its stratum, whichever part of that is asked about, so that strata in
        which chance drew nothing of the part are made up for in other samples. Weights by how many items of the part
        lie in each stratum would leave such strata out always: by difficulty, whose bands are no strata, the bias
        over 150 samples of nfcorpus was up to .014 instead of .006. `uncovered` says of how much nothing was judged.
        """
        here = part[self.drawn.at]
        good = here & self.known
        stratum = self.strata.of[self.drawn.at]
        found = Labelled(self.share[good], stratum[good], self.weights(self.known)[good])
        if self.cheap is None or not len(found):
            return direct(found, self.level), None
        if self.everywhere:
            cheap, mean, first = self.cheap[self.drawn.at], float(self.cheap[part].mean()), None
        else:
            cheap = self.cheap
            first = Labelled(cheap[here], stratum[here], self.drawn.weight[here])
            mean = direct(first, self.level).value
        helped = assisted(found, cheap[good], mean, first=first, level=self.level)
        return helped.rate, helped.tuning

    def uncovered(self, part: Bools) -> float:
        """Share of a part, bool (items,), in strata of which nothing of it was judged; the others speak for those."""
        of, count = self.strata.of, len(self.strata.listed)
        size = np.bincount(of[part], minlength=count)
        judged = np.bincount(of[self.drawn.at[part[self.drawn.at] & self.known]], minlength=count)
        return float(size[judged == 0].sum() / max(1, size.sum()))

    def summary(self, part: Bools, name: str | None = None) -> dict[str, Any]:
        """Items, judged, rate and interval of a part of the population, and its uncovered share, as JSON."""
        here = part[self.drawn.at] & self.known
        found = self.rate(part)[0]
        known = bool(here.any())
        return {
            **({} if name is None else {"name": name}),
            "items": int(part.sum()),
            "judged": int(here.sum()),
            "rate": found.value if known else None,
            "low": found.low if known else None,
            "high": found.high if known else None,
            "uncovered": self.uncovered(part),
        }
