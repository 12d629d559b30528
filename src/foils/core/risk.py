"""Is a rate below a bound, by a sample of queries? Learn then test, with exact or asymptotic p-values.

Angelopoulos, Bates, Candès, Jordan and Lei 2021, Learn then Test, arXiv:2110.01052: of many thresholds, each is tested
for the hypothesis that its risk is above the target, and one whose hypothesis is rejected is used; the error of any
rejection is at most δ. Nothing has to be monotone, which is why this is used and not conformal risk control
(Angelopoulos et al. 2022, arXiv:2208.02814): the share of false negatives *among what is kept* is a ratio, and neither
it nor the choice of the k hardest survivors moves in one direction with the threshold; and conformal risk control
bounds the expectation over samples, which the one sample at hand may well exceed.

The unit is the query: judgements of one query's documents are not independent.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foils.core.errors import DataError

Floats = NDArray[np.float64]
Test = Literal["exact", "drawn", "asymptotic"]

CAP = 0.95  # of the largest bet that cannot lose everything
_SPARE = 0.2  # of what a sample shows beyond the minimum, before the first test
_FURTHER = (0.2, 0.5, 0.99)  # of all that a sample could show, where further sequences start
_STARTS, _LARGE = (
    1 + len(_FURTHER),
    8,
)  # sequences of tests, and of how many times the least evidence a sample must be capable for that


def log_p(kept: Floats, false: Floats, target: float, most: float, test: Test = "exact", unit: float = 1.0) -> Floats:
    """Natural logarithm of a p-value for "of what is kept, at least the share ``target`` is false".

    With ``G_q = false_q - α kept_q`` the hypothesis is ``E G >= 0``.

    exact: as ``G_q <= (1-α) most =: g``, the wealth ``K_n = Π_q (1 - ν_q G_q / g)`` with bets ``0 <= ν_q < 1`` that
    depend on earlier queries only is a supermartingale under it, and ``1 / max_n K_n`` is a p-value (Ville 1939;
    Waudby-Smith and Ramdas 2024, Estimating means of bounded random variables by betting, arXiv:2010.09686, section 4).
    The bets follow their approximate Kelly rule ``ν = -m / v`` with m the mean and v the mean square of the earlier
    ``G/g`` (begun with one made-up query that kept everything and had nothing false), at most 0.95. Where each query
    keeps ``most`` and nothing is false, p is close to ``(1-α)^n``, that of the exact binomial test; where a query has
    few false ones of many, it is far smaller than Hoeffding's and Bentkus's. It holds for every number of queries and
    every dependence within them, if ``most`` is known before the sample is: the largest ``kept`` *of the sample* is no
    such bound, as a rare query with a long list, all of it false, is in most samples missing. Reckoning with these it
    shows nothing below ``needed`` queries, and takes ``most / mean kept`` times as many where the queries of the sample
    keep less than they may.

    asymptotic: the t statistic of G with its skewness removed, ``√n (z + g z²/3 + g² z³/27 + g/(6n))`` for z the mean
    over the standard deviation and g the skewness (Hall 1992, On the removal of skewness by transformation, JRSS B 54),
    with one made-up query whose single label, of weight ``unit``, is false, so that few labels without a false one show
    little. It holds for many queries only. In simulations with clusters of 1 to 50 it passes a rate at the target in
    3.5 to 5.5 % of the samples instead of 5, from 100 queries on, and in up to 10 % with 46 queries of which a few have
    nothing but false ones; in return it needs a third to a tenth of the queries.

    Args:
        kept: weight of what each query keeps under each threshold, float64 (queries, thresholds), >= 0; the queries in
            an order that does not depend on what is false.
        false: weight of what is false of it, same shape, at most ``kept``.
        target: α, above 0 and below 1.
        most: largest weight that any query, sampled or not, may keep; known before sampling. Above 0.
        test: which one; the asymptotic one does not use ``most``.
        unit: weight of one label.

    Returns:
        float64 (thresholds,), at most 0; 0 where nothing is kept.

    Raises:
        DataError: a query keeps more than ``most``.
    """
    return _betting(kept, false, target, most) if test == "exact" else _hall(kept, false, target, unit)


def _betting(kept: Floats, false: Floats, target: float, most: float) -> Floats:
    largest = float(kept.max(initial=0.0))
    if largest > most * (1 + 1e-9):
        raise DataError(
            f"a query keeps candidates of weight {largest:g}, and at most {most:g} were to be expected.",
            remedy="The bound must hold for every query: the sampler's k times the largest weight of a label.",
        )
    gain = (false - target * kept) / ((1 - target) * most)
    made_up = target / (1 - target)
    number = np.arange(1, len(gain) + 1)[:, None]
    mean = (_before(gain) - made_up) / number
    square = (_before(gain**2) + made_up**2) / number
    bet = np.clip(-mean / square, 0.0, CAP)
    wealth = np.cumsum(np.log1p(-bet * gain), axis=0)
    best: Floats = -wealth.max(axis=0, initial=0.0)
    return best


def _hall(kept: Floats, false: Floats, target: float, unit: float) -> Floats:
    made_up = np.full((1, kept.shape[1]), (1 - target) * unit)
    gain = np.concatenate([false - target * kept, made_up])
    n, mean = len(gain), gain.mean(axis=0)
    off = gain - mean
    spread = np.sqrt((off**2).sum(axis=0) / max(1, n - 1))
    some = (kept.max(axis=0, initial=0.0) > 0) & (spread > 0)
    spread = np.where(some, spread, 1.0)
    skew, z = (off**3).mean(axis=0) / spread**3, mean / spread
    t = np.sqrt(n) * (z + skew * z**2 / 3 + skew**2 * z**3 / 27 + skew / (6 * n))
    return np.where(some, np.minimum(log_t(t, n - 1), 0.0), 0.0)


def log_t(t: Floats, degrees: int) -> Floats:
    """Logarithm of the probability that Student's t is at most ``t``, (n,), by Wallace's normal approximation (1959).

    Within 1 % of the probability from 20 degrees of freedom on.
    """
    size = np.sqrt(degrees * np.log1p(t**2 / degrees)) * (8 * degrees + 1) / (8 * degrees + 3)
    tails = [0.5 * math.erfc(min(z, 37.0) / math.sqrt(2)) for z in size.tolist()]
    tail = np.array(tails)
    logs: Floats = np.where(t <= 0, np.log(tail), np.log1p(-tail))
    return logs


def _before(values: Floats) -> Floats:
    """Sum of the earlier rows."""
    total = np.cumsum(values, axis=0)
    return np.concatenate([np.zeros((1, values.shape[1])), total[:-1]]) if len(values) else total


def passing(logs: Floats, hopes: Floats, level: float, starts: int = 1) -> NDArray[np.bool_]:
    """Which thresholds pass, tested in fixed sequences: the chance that any does so wrongly is at most ``1 - level``.

    One begins with a threshold and goes on to looser ones as long as ``p <= δ / J``, from each of J starts: fixed
    sequence testing, Learn then Test, section 2.3. Where one begins must not depend on what is false, nor on what is
    kept of the labelled ones, which goes along with it: hence ``hopes`` of a made-up sample, see `even`. The first
    start is the strictest threshold under which the sample shows more than the bare minimum if nothing is false: a
    fifth of the way to the most that it shows under any, but never beyond twice the minimum; from the bare minimum on,
    one false label would end it. Further starts are where the sample shows a fifth, half and all of what it could: the
    rate may fall again where more queries come in, and a sequence that stopped at the hump would not see it.

    Args:
        logs: log p-values, ordered from the strictest threshold to the loosest, (n,).
        hopes: the log p-values to be expected if nothing were false, (n,); by `even`.
        level: 1 - δ.
        starts: J, 1 or 4; see `starts_of`.

    Returns:
        bool (n,).
    """
    passed = np.zeros(len(logs), bool)
    best, bound = float(hopes.min(initial=0.0)), math.log((1 - level) / starts)
    if best > bound:
        return passed
    first = int(np.flatnonzero(hopes <= bound + max(_SPARE * (best - bound), bound) + 1e-9)[0])
    shares = _FURTHER if starts > 1 else ()
    for start in {first, *(int(np.flatnonzero(hopes <= share * best)[0]) for share in shares)}:
        failed = np.flatnonzero(logs[start:] > bound)
        passed[start : start + failed[0] if len(failed) else len(logs)] = True
    return passed


def starts_of(kept: Floats, target: float, level: float, most: float) -> int:
    """How many sequences of tests a sample can afford: 4 if it could show eight times the least evidence, else 1.

    Args:
        kept: a made-up sample, see `even`.
        target: α.
        level: 1 - δ.
        most: see `log_p`.
    """
    return sequences(float(_betting(kept, np.zeros_like(kept), target, most).min(initial=0.0)), level)


def sequences(best: float, level: float) -> int:
    """How many sequences of tests a sample can afford that shows the log p-value ``best`` at most."""
    return _STARTS if best <= _LARGE * math.log(1 - level) else 1


def even(mean: Floats, queries: int, unit: float, most: float) -> Floats:
    """A made-up sample that keeps so much in the mean, evenly: what `passing` and `starts_of` may look at.

    It depends on the design and on scores, not on which candidates the sample happens to have labels of: what is kept
    of these and what is false of it depend on one another.

    Args:
        mean: expected weight that a query keeps under each threshold, (thresholds,), >= 0.
        queries: of the sample.
        unit: weight of one label; where less is expected, so many queries keep one label and the others nothing: as
            many as one may count on, the binomial mean less two standard deviations.
        most: see `log_p`.

    Returns:
        float64 (queries, thresholds).

    >>> even(np.array([0.75, 3.0]), 4, 1.0, 8.0).tolist()
    [[1.0, 3.0], [0.0, 3.0], [0.0, 3.0], [0.0, 3.0]]
    """
    size = np.clip(mean, unit, most)
    share = np.minimum(mean / size, 1.0)
    count = np.rint(queries * share - 2 * np.sqrt(queries * share * (1 - share)))
    rows: Floats = np.where(np.arange(queries)[:, None] < count, size, 0.0)
    return rows


def needed(target: float, level: float) -> int:
    """Fewest queries that could show a rate below the target, exactly: each keeps all it may, and nothing is false.

    >>> needed(0.02, 0.95), needed(0.1, 0.95)
    (157, 30)
    """
    return math.ceil(-math.log(1 - level) / math.log1p(CAP * target / (1 - target)))
