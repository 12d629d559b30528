"""Is a rate below a bound, by a random draw of the very candidates that it is the rate of? Exact, with strata.

`foils.core.risk` asks for queries like the labelled ones; it must reckon with whatever other queries may hold, and with
what the heaviest label stands for. Here the candidates are given, all of them, and the only luck is which of them were
drawn to be labelled: false ones may sit together in one query or one stratum, and cost no more labels for that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foils.core.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_TILTS = 60  # of the exponential bound that are tried
_ALIKE = 0.8  # of the false ones to be expected if all strata were drawn alike


@dataclass(frozen=True, eq=False)
class Draw:
    """A stratified draw without replacement.

    Attributes:
        size: candidates of each stratum, N_h, int64 (strata,).
        count: labelled ones of it, n_h, int64 (strata,), drawn evenly of the stratum.
        part: the part of the candidates that each stratum belongs to, int64 (strata,), from 0 on; parts are told apart
            where it is known how many of each are kept.
    """

    size: Ints
    count: Ints
    part: Ints

    def __post_init__(self) -> None:
        if (self.count > self.size).any() or (self.size < 1).any():
            raise DataError("a stratum has more labels than candidates, or none of these: this is no draw.")


def log_p(found: Floats, counted: Floats | None, kept: Floats, beyond: Floats, draw: Draw, target: float) -> Floats:
    """Natural logarithm of a p-value for "of what is kept, at least the share ``target`` is false".

    Let F_h be the false ones among what is kept of stratum h. The hypothesis, ``Σ F_h >= α Σ kept - beyond``, does not
    say in which strata they are, so they are put where they show least: into the strata of which the smallest part was
    drawn, up to N_h each and to what is kept of their part. What is kept of no part counts as false altogether.

    counted: as many labels are false as successes of independent trials (a hypergeometric number is distributed like
    such a sum: Vatutin and Mikhailov 1982), at least ``μ = min Σ n_h F_h / N_h`` of them to be expected. Of m false
    ones, p is ``P(Binomial(n, μ/n) <= m)`` for ``m <= μ - 1`` (Hoeffding 1956, On the distribution of the number of
    successes in independent trials, theorem 4), else 1. Where nothing is false, 150 labels *of what is kept* show a
    rate below 2 % at 95 %. It is used where strata were drawn about alike: where μ is at least 0.8 of what it would be
    if they were drawn all alike, which no label decides.

    found: elsewhere ``S = Σ w_h relevance`` with ``w_h = N_h / n_h``, over the labelled ones that are kept. For any
    tilt c > 0, since draws without replacement have no larger moments than those with it (Hoeffding 1963, Probability
    inequalities for sums of bounded random variables, theorem 4) and ``1 - x <= exp(-x)``::

        E exp(-c S) <= exp(-Σ_h r_h F_h),    r_h = (n_h / N_h) (1 - exp(-c w_h))

    whence ``P(S <= s) <= min_c exp(c s - min Σ r_h F_h)``, which grows with s: at the S that was found it is a p-value.

    Args:
        found: S under each threshold, (thresholds,); shares of relevance, 0 to 1, count in part.
        counted: false labels among what is kept, whole numbers, (thresholds,); None where labels are shares.
        kept: candidates of each part that are kept, (parts, thresholds).
        beyond: candidates of no part that are kept, (thresholds,).
        draw: the strata.
        target: α, above 0 and below 1.

    Returns:
        float64 (thresholds,), at most 0; 0 where nothing is kept.
    """
    least = np.maximum(target * (kept.sum(axis=0) + beyond) - beyond, 0.0)
    tilted = _tilted(found, least, kept, draw)
    if counted is None:
        return tilted
    drawn, labels = draw.count / draw.size, int(draw.count.sum())
    expected = _hidden(drawn, least, kept, draw)
    alike = expected >= _ALIKE * least * labels / draw.size.sum()
    return np.where(alike, _binomial(counted, expected, labels), tilted)


def _tilted(found: Floats, least: Floats, kept: Floats, draw: Draw) -> Floats:
    weight = draw.size / np.maximum(draw.count, 1)
    best = np.zeros(len(found))
    for tilt in np.geomspace(0.02 / weight.max(), 40 / weight.min(), _TILTS):
        shown = draw.count / draw.size * -np.expm1(-tilt * weight)
        best = np.minimum(best, tilt * found - _hidden(shown, least, kept, draw))
    return best


def _binomial(counted: Floats, expected: Floats, trials: int) -> Floats:
    """Log P(Binomial(n, μ/n) <= m) where m <= μ - 1, else 0."""
    logs = np.zeros(len(counted))
    factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, trials + 1)))])
    for place in np.flatnonzero((counted <= expected - 1) & (expected < trials)).tolist():
        k, p = np.arange(int(counted[place]) + 1), expected[place] / trials
        terms = factorial[trials] - factorial[k] - factorial[trials - k] + k * np.log(p) + (trials - k) * np.log1p(-p)
        logs[place] = terms.max() + np.log(np.exp(terms - terms.max()).sum())
    return np.minimum(logs, 0.0)


def _hidden(shown: Floats, least: Floats, kept: Floats, draw: Draw) -> Floats:
    """Σ r_h F_h where the false ones are hidden best, (thresholds,)."""
    total, left, room = np.zeros(len(least)), least.copy(), kept.astype(np.float64)
    for stratum in np.argsort(shown, kind="stable").tolist():
        part = draw.part[stratum]
        here = np.minimum(np.minimum(left, room[part]), draw.size[stratum])
        total += shown[stratum] * here
        left, room[part] = left - here, room[part] - here
    return total
