"""Is a difference between two systems more than luck of the draw of queries? Tests, intervals, corrections.

Numpy only. Every function takes one column or several at once; the columns of one call share their random draws, so
systems and measures are compared under the same resamplings and each draw is paid for once.

A test over queries says what other queries would give. It says nothing about other training seeds, whose spread is
often larger than the differences between methods; `over_seeds` says both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

ROUNDS = 10_000
_POWER = 0.841621  # z_.8
_CELLS = 1 << 22  # draws held in memory at once: 32 MB of float64

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A two-sided interval.

    Attributes:
        low: lower end.
        high: upper end.
        level: share of resamplings inside.
        method: how it was made.
    """

    low: float
    high: float
    level: float
    method: Literal["bootstrap percentile", "queries and seeds resampled"] = "bootstrap percentile"


@dataclass(frozen=True)
class Ratio:
    """A ratio of sums over queries with a two-sided interval; NaN where nothing is counted.

    Attributes:
        value: the ratio.
        low: lower end.
        high: upper end.
        level: share of resamplings inside.
    """

    value: float
    low: float
    high: float
    level: float

    def facts(self) -> dict[str, float | None]:
        """As JSON values; null for NaN."""
        ends = {"value": self.value, "low": self.low, "high": self.high}
        return {name: None if np.isnan(number) else number for name, number in ends.items()}


@dataclass(frozen=True)
class SignFlip:
    """Result of the paired sign-flip test.

    Attributes:
        p: two-sided p-value.
        method: ``exact`` if all sign patterns were counted, ``sampled`` if ``rounds`` of them were drawn.
        rounds: sign patterns looked at.
    """

    p: float
    method: Literal["exact", "sampled"]
    rounds: int


def sign_flip(differences: ArrayLike, *, rounds: int = ROUNDS, seed: int = 0) -> SignFlip:
    """Paired permutation test of a mean difference, by random sign flips (Fisher 1935), two-sided.

    Under the null hypothesis the two systems are exchangeable for each query, so each difference is as likely to have
    the other sign:  ``p = (1 + #{|mean*| >= |observed|}) / (1 + B)``  over B random sign patterns; the 1 counts the
    pattern that was observed, so p is never 0. Zero differences change no mean and are left out. Where the others are
    few enough that all 2^m patterns number at most B, all are counted instead:  ``p = #{...} / 2^m``.

    Args:
        differences: one per query, (n,), finite.
        rounds: B; 10,000 resolves p down to 1e-4.
        seed: of the draws.

    Returns:
        p = 1 where all differences are 0, or there are none.

    Raises:
        ValueError: a difference is not finite, or rounds < 1.

    >>> sign_flip([0.1, 0.2, 0.3]).p
    0.25
    """
    values = _columns(differences, rounds)[:, 0]
    values = values[values != 0]
    # Sums of the same numbers in another order differ in the last bits; what is equal on paper must count as equal.
    bound = abs(values.sum()) - 1e-11 * np.abs(values).sum()
    if len(values) < 63 and 2 ** len(values) <= rounds:
        total = 2 ** len(values)
        every = (np.arange(total)[:, None] >> np.arange(len(values))) & 1
        return SignFlip(_at_least(bound, every, values) / total, "exact", total)
    extreme = 0
    generator = np.random.Generator(np.random.PCG64(seed))
    for size in _chunks(rounds, len(values)):
        # Whole 64-bit words per pattern: the stream of draws does not depend on how patterns are chunked.
        words = generator.integers(0, 2**64, size=(size, -(-len(values) // 64)), dtype=np.uint64)
        patterns = np.unpackbits(words.astype("<u8").view(np.uint8), axis=1, count=len(values))
        extreme += _at_least(bound, patterns, values)
    return SignFlip((1 + extreme) / (1 + rounds), "sampled", rounds)


def bootstrap_means(values: ArrayLike, *, rounds: int = ROUNDS, seed: int = 0) -> Floats:
    """Means of resamples of the queries, drawn with replacement.

    Args:
        values: one row per query, (n,) or (n, columns), finite, n >= 1; all columns see the same resamples.
        rounds: number of resamples.
        seed: of the draws.

    Returns:
        float64 (rounds, columns).

    Raises:
        ValueError: no rows, a value that is not finite, or rounds < 1.
    """
    table = _columns(values, rounds)
    n = len(table)
    if n == 0:
        raise ValueError("a bootstrap needs at least one value")
    generator = np.random.Generator(np.random.PCG64(seed))
    means = np.empty((rounds, table.shape[1]))
    done = 0
    for size in _chunks(rounds, n):
        drawn = generator.integers(0, n, size=(size, n))
        # How often each query was drawn, then one product for all columns: cheaper than gathering every column.
        drawn += np.arange(size)[:, None] * n
        times = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)
        means[done : done + size] = times.astype(np.float64) @ table / n
        done += size
    return means


def interval(values: ArrayLike, *, level: float = 0.95, rounds: int = ROUNDS, seed: int = 0) -> Interval:
    """Bootstrap percentile interval of a mean (Efron 1979); of a mean difference if given paired differences.

    Args:
        values: one per query, (n,), n >= 1.
        level: share of the resampled means inside, in (0, 1).
        rounds: number of resamples.
        seed: of the draws.

    Raises:
        ValueError: see `bootstrap_means`.
    """
    return intervals(values, level=level, rounds=rounds, seed=seed)[0]


def intervals(values: ArrayLike, *, level: float = 0.95, rounds: int = ROUNDS, seed: int = 0) -> list[Interval]:
    """`interval` of each column of a table (n, columns), under the same resamples."""
    if not 0 < level < 1:
        raise ValueError(f"level={level}: it must be between 0 and 1")
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(bootstrap_means(values, rounds=rounds, seed=seed), tails, axis=0)
    return [Interval(float(a), float(b), level) for a, b in zip(low, high, strict=True)]


@dataclass(frozen=True)
class OverSeeds:
    """A mean over queries and training seeds, and how sure it is; of a mean difference if given paired differences.

    Attributes:
        mean: over all.
        interval: percentiles of the resampled means.
        p: two-sided, of a mean of 0.
        detectable: true mean that one test at 5 %, uncorrected, would find in about 80 % of such studies.
    """

    mean: float
    interval: Interval
    p: float
    detectable: float


def over_seeds(values: ArrayLike, *, level: float = 0.95, rounds: int = ROUNDS, seed: int = 0) -> OverSeeds:
    """Mean, interval and test over queries *and* training seeds, both taken as drawn at random.

    The queries are resampled. The few seeds that anybody trains are not: percentiles of three values, resampled, cover
    75 % where 95 % is said. The mean of S seeds gets instead the spread that Student's t gives it,

        ``mean* = mean of resampled queries + t_{S-1} · sd(seed means) / √S``,

    which is exact where the seeds decide and the bootstrap where the queries do; where both matter, it errs to the wide
    side (Owen 2007, The pigeonhole bootstrap, on resampling both sides of a table). ``p = (1 + #{|mean* - mean| >=
    |mean|}) / (1 + B)``. One seed knows nothing of others: the interval is `interval`, p that of `sign_flip`.
    ``detectable`` is half the interval plus ``z_.8`` standard errors; for one seed `detectable`.

    Args:
        values: (seeds, queries), finite; row s holds seed s, and all rows the same queries.
        level: share of the resampled means inside.
        rounds: B.
        seed: of the draws.

    Raises:
        ValueError: no seed or no query, or see `bootstrap_means`.
    """
    return all_over_seeds([values], level=level, rounds=rounds, seed=seed)[0]


def all_over_seeds(
    tables: Sequence[ArrayLike], *, level: float = 0.95, rounds: int = ROUNDS, seed: int = 0
) -> list[OverSeeds]:
    """`over_seeds` of several tables over the same queries, under the same resamples; their seeds may differ."""
    given = [np.asarray(values, dtype=np.float64) for values in tables]
    for table in given:
        if table.ndim != 2 or 0 in table.shape:
            raise ValueError(f"values of shape {table.shape}: (seeds, queries) are expected, at least one of each")
    if not given:
        return []
    means = np.stack([table.mean(axis=0) for table in given], axis=1)
    draws = bootstrap_means(means, rounds=rounds, seed=seed)
    generator = np.random.Generator(np.random.PCG64([seed, 1]))
    student = {len(table): np.zeros(rounds) for table in given}
    student |= {n: generator.standard_t(n - 1, rounds) for n in sorted(student) if n > 1}
    return [
        _over(table, draws[:, place] + student[len(table)] * _spread(table), level, (rounds, seed))
        for place, table in enumerate(given)
    ]


def _spread(table: Floats) -> float:
    """Standard error of the mean over seeds; 0 for one."""
    return float(table.mean(axis=1).std(ddof=1) / np.sqrt(len(table))) if len(table) > 1 else 0.0


def _over(table: Floats, draws: Floats, level: float, luck: tuple[int, int]) -> OverSeeds:
    mean, (rounds, seed) = table.mean(axis=0), luck
    total = float(mean.mean())
    low, high = map(float, np.quantile(draws, [(1 - level) / 2, (1 + level) / 2]))
    if len(table) == 1:
        found = Interval(low, high, level)
        return OverSeeds(total, found, sign_flip(mean, rounds=rounds, seed=seed).p, detectable(mean))
    bound = abs(total) - 1e-11 * np.abs(mean).mean()
    p = float((1 + np.count_nonzero(np.abs(draws - total) >= bound)) / (1 + rounds))
    error = np.hypot(mean.std(ddof=1) / np.sqrt(len(mean)) if len(mean) > 1 else 0.0, _spread(table))
    ends = Interval(low, high, level, "queries and seeds resampled")
    return OverSeeds(total, ends, p, float((high - low) / 2 + _POWER * error))


def ratio(part: ArrayLike, whole: ArrayLike, *, level: float = 0.95, rounds: int = ROUNDS, seed: int = 0) -> Ratio:
    """``Σ part / Σ whole`` over queries, with the bootstrap percentile interval over queries.

    Each query is drawn with all it holds (Davison and Hinkley 1997, Bootstrap Methods and their Application, section
    3.8), for what one query's documents are is not independent. With few queries, or a rate near 0, the interval is too
    short; where the part is 0 everywhere it ends at 0.

    Args:
        part: of each query, (n,), at most ``whole``.
        whole: of each query, (n,), at least 0.
        level: share of resamples inside, in (0, 1).
        rounds: number of resamples.
        seed: of the draws.

    >>> ratio([1, 0, 1, 0], [2, 2, 2, 2]).value
    0.25
    """
    table = np.stack([np.asarray(part, np.float64), np.asarray(whole, np.float64)], axis=1)
    table = table[table[:, 1] > 0]
    if not len(table):
        return Ratio(float("nan"), float("nan"), float("nan"), level)
    means = bootstrap_means(table, rounds=rounds, seed=seed)
    low, high = np.quantile(means[:, 0] / means[:, 1], [(1 - level) / 2, (1 + level) / 2])
    return Ratio(float(table[:, 0].sum() / table[:, 1].sum()), float(low), float(high), level)


def holm(p: ArrayLike) -> Floats:
    """Holm's step-down correction of m p-values for the family-wise error rate (Holm 1979).

    In ascending order ``p_(i) (m - i + 1)``, made non-decreasing and cut at 1; returned in the order given.

    Args:
        p: p-values, (m,), none NaN: a test that could not be made is none of the family.

    Returns:
        float64 (m,), each at least its raw value.

    Raises:
        ValueError: a value is NaN.

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    raw = np.asarray(p, dtype=np.float64)
    if np.isnan(raw).any():
        raise ValueError(f"{int(np.isnan(raw).sum())} of {len(raw)} p-values are NaN. Leave tests that failed out.")
    order = np.argsort(raw, kind="stable")
    stepped = np.maximum.accumulate(raw[order] * np.arange(len(raw), 0, -1))
    corrected = np.empty_like(raw)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def detectable(differences: ArrayLike) -> float:
    """The smallest true mean difference that a two-sided test at 5 % would find in 80 % of such samples.

    ``(z_.975 + z_.8) · sd / √n = 2.80 · sd / √n``, by the normal approximation, from the spread seen. It is of one
    test: where p is corrected for m (`holm`), ``z_(1 - .025/m)`` in place of ``z_.975`` is enough, which makes 3.24 of
    2.80 for three, and 3.48 for six.

    Args:
        differences: one per query, (n,).

    Returns:
        In units of the measure; NaN for fewer than two queries.
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < 2:
        return float("nan")
    return float((1.959964 + _POWER) * values.std(ddof=1) / np.sqrt(len(values)))


def _columns(values: ArrayLike, rounds: int) -> Floats:
    table = np.asarray(values, dtype=np.float64)
    table = table[:, None] if table.ndim == 1 else table
    if rounds < 1:
        raise ValueError(f"rounds={rounds}: it must be at least 1")
    if not np.isfinite(table).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(table))} of {table.size} values are not finite")
    return table


def _at_least(bound: float, patterns: NDArray[Any], values: Floats) -> int:
    """Number of sign patterns (bit 1 keeps the sign, bit 0 flips it) whose sum is at least ``bound`` in magnitude."""
    flipped = 2.0 * (patterns.astype(np.float64) @ values) - values.sum()
    return int(np.count_nonzero(np.abs(flipped) >= bound))


def _chunks(rounds: int, n: int) -> list[int]:
    size = max(1, _CELLS // max(1, n))
    return [min(size, rounds - start) for start in range(0, rounds, size)]
