"""How well a linear classifier tells two kinds of vectors apart, on groups that it has not seen."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.core.errors import DataError, need
from foils.evaluate.transfer.resampled import resamples

FOLDS = 5
PENALTY = 0.01  # scikit-learn's C: weak enough to separate, strong enough for more dimensions than vectors
ROUNDS = 1000
LEAST = 10  # vectors of a kind

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """A figure and its 95 % bootstrap interval over groups; classifiers are not fitted anew.

    Attributes:
        value: of all vectors, each told by a classifier that has not seen its group.
        low: lower end.
        high: upper end.
    """

    value: float
    low: float
    high: float


def separate(x: NDArray[Any], one: NDArray[np.bool_], group: NDArray[np.integer], *, seed: int = 0) -> dict[str, Any]:
    """Logistic regression in five folds: is a vector of the first kind or of the other?

    Groups stay together and are dealt to the folds in the order of their numbers, in parts of about the same size.
    Dimensions are standardised by the vectors learnt from; both kinds weigh the same.

    Args:
        x: float (n, d), finite.
        one: (n,), which are of the first kind.
        group: (n,), numbers; what must not be on both sides of a fold has the same one.
        seed: of the bootstrap.

    Returns:
        ``accuracy``: balanced, the mean of the shares of both kinds that are told right: .5 where nothing tells them
        apart, 1 where a hyperplane does. ``auc``: of pairs of one of each kind in the same fold, the share that is
        ordered right; equal scores count half. Both `Measured`.

    Raises:
        DataError: fewer than 10 vectors of a kind, or 5 groups; or a kind that is in one fold only.
        MissingExtra: scikit-learn is not installed.
    """
    few, groups = min(int(one.sum()), int((~one).sum())), np.unique(group, return_inverse=True)[1]
    if few < LEAST or groups.max(initial=-1) + 1 < FOLDS:
        raise DataError(
            f"{int(one.sum()):,} and {int((~one).sum()):,} vectors in {groups.max(initial=-1) + 1:,} groups: to tell "
            f"two kinds apart takes {LEAST} of each, in {FOLDS} groups at least.",
            remedy="Give more queries, or negatives that fewer sources share.",
        )
    fold = _folds(groups)
    score = np.empty(len(x))
    for number in range(FOLDS):
        held = fold == number
        if held.any():
            score[held] = _scores(np.asarray(x, np.float64), one, held, seed)
    weights = np.concatenate([np.ones((1, groups.max() + 1)), *resamples(int(groups.max()) + 1, ROUNDS, seed)])
    found = {"accuracy": _accuracy(score, one, groups, weights), "auc": _auc(score, one, groups, fold, weights)}
    return {name: _measured(values) for name, values in found.items()}


def _folds(group: NDArray[np.int64]) -> NDArray[np.int64]:
    size = np.bincount(group)
    middle = np.cumsum(size) - size / 2
    return np.asarray((FOLDS * middle / len(group)).astype(np.int64)[group])


def _scores(x: Floats, one: NDArray[np.bool_], held: NDArray[np.bool_], seed: int) -> Floats:
    shown = x[~held]
    if len(np.unique(one[~held])) < 2:
        raise DataError("all vectors of a kind are in one group.", remedy="Give negatives of more queries.")
    middle, spread = shown.mean(axis=0), shown.std(axis=0)
    spread[spread < 1e-12] = 1.0
    model = need("sklearn.linear_model", "eval").LogisticRegression(
        C=PENALTY, class_weight="balanced", max_iter=1000, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit that has not converged tells apart as well
        model.fit((shown - middle) / spread, one[~held])
    values: Floats = model.decision_function((x[held] - middle) / spread)
    return values


def _accuracy(score: Floats, one: NDArray[np.bool_], group: NDArray[np.int64], weights: Floats) -> Floats:
    groups = weights.shape[1]
    shares = []
    for kind in (one, ~one):
        right = np.bincount(group, weights=kind & ((score > 0) == one), minlength=groups)
        there = np.bincount(group, weights=kind, minlength=groups)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares.append((weights @ right) / (weights @ there))
    return np.asarray(np.mean(shares, axis=0))


def _auc(
    score: Floats, one: NDArray[np.bool_], group: NDArray[np.int64], fold: NDArray[np.int64], weights: Floats
) -> Floats:
    won, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    for number in range(FOLDS):
        rows = np.flatnonzero(fold == number)
        rows = rows[np.argsort(score[rows], kind="stable")]
        if not len(rows):
            continue
        starts = np.flatnonzero(np.concatenate(([True], np.diff(score[rows]) > 0)))
        drawn = weights[:, group[rows]]
        first = np.add.reduceat(drawn * one[rows], starts, axis=1)
        second = np.add.reduceat(drawn * ~one[rows], starts, axis=1)
        below = np.cumsum(second, axis=1) - second
        won += (first * (below + second / 2)).sum(axis=1)
        pairs += first.sum(axis=1) * second.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(won / pairs)


def _measured(values: Floats) -> Measured:
    drawn = values[1:][np.isfinite(values[1:])]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Measured(float(values[0]), float(low), float(high))
