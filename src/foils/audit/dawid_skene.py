"""Consensus of several judges by Dawid and Skene's EM over binary votes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROUNDS, _CLOSE = 500, 1e-10
_PRIOR = 0.5  # pseudo-votes of each kind, so that no judge is certain

Floats = NDArray[np.float64]
Votes = NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Consensus:
    """What several judges together say.

    Attributes:
        probability: that each item is relevant, float64 (n,); NaN where nobody voted.
        sensitivity: of each judge, float64 (judges,); NaN for one that has no say.
        specificity: likewise.
        weight: log-odds between its two votes, ``ln(se·sp / ((1-se)(1-sp)))``; 0 for one that has no say.
        same: for each judge, the first one with the same votes, int64 (judges,).
        prevalence: share of relevant items.
    """

    probability: Floats
    sensitivity: Floats
    specificity: Floats
    weight: Floats
    same: NDArray[np.int64]
    prevalence: float


def consensus(votes: Votes, anchors: Votes | None = None) -> Consensus:
    """Fit and apply the model: each judge errs on its own, with a sensitivity and a specificity.

    Dawid and Skene 1979, Applied Statistics 28(1), two classes; EM from the mean vote. Judges with the same votes are
    one judge. A judge with one vote for all has no say. "Relevant" is the class that the anchors' votes speak for; with
    no anchors, the one that makes the judges better than chance on the whole. One judge that is left is followed. Of
    two, which one is the better cannot be told, and both count about alike. Judges that err alike, as models of one
    family do, make the probabilities too sure.

    Args:
        votes: int8 (n, judges): 1, 0, or -1 for none.
        anchors: votes on pairs that are known to be relevant, int8 (m, judges).
    """
    _, judges = votes.shape
    same = _same(votes, anchors)
    varied = np.array([len(np.unique(column[column >= 0])) > 1 for column in votes.T] or [False])
    used = np.flatnonzero((same == np.arange(judges)) & varied)
    nothing = np.full(judges, np.nan)
    if len(used) <= 1:
        # A constant judge says nothing, but if there are only such, what they say is all there is.
        followed = votes[:, used[0]] if len(used) else _mean(votes[:, np.unique(same)])
        probability = np.where(followed < 0, np.nan, followed).astype(np.float64)
        weight = np.isin(same, used).astype(np.float64)
        return Consensus(probability, nothing, nothing.copy(), weight, same, _share(probability))
    probability, (se, sp, prevalence) = _fitted(votes[:, used])
    odds = np.log(se) - np.log1p(-sp), np.log1p(-se) - np.log(sp)
    if _turned(votes[:, used] if anchors is None else anchors[:, used], se, sp, odds, known=anchors is not None):
        probability, se, sp, prevalence = 1 - probability, 1 - sp, 1 - se, 1 - prevalence
    probability[(votes[:, used] < 0).all(axis=1)] = np.nan
    at = np.searchsorted(used, same)
    has = np.isin(same, used)
    spread = [np.where(has, values[np.minimum(at, len(used) - 1)], np.nan) for values in (se, sp)]
    both = np.where(has, np.log(spread[0] * spread[1]) - np.log((1 - spread[0]) * (1 - spread[1])), 0.0)
    return Consensus(probability, spread[0], spread[1], both, same, float(prevalence))


def _same(votes: Votes, anchors: Votes | None) -> NDArray[np.int64]:
    whole = votes if anchors is None else np.concatenate([votes, anchors])
    _, first, place = np.unique(whole, axis=1, return_index=True, return_inverse=True)
    return first[place.reshape(-1)].astype(np.int64)


def _mean(votes: Votes) -> Floats:
    count = (votes >= 0).sum(axis=1)
    means: Floats = np.where(count > 0, np.where(votes > 0, votes, 0).sum(axis=1) / np.maximum(count, 1), -1.0)
    return means


def _share(probability: Floats) -> float:
    known = probability[~np.isnan(probability)]
    return float(known.mean()) if len(known) else 0.0


def _fitted(votes: Votes) -> tuple[Floats, tuple[Floats, Floats, float]]:
    yes, no = (votes == 1).astype(np.float64), (votes == 0).astype(np.float64)
    voted = (votes >= 0).any(axis=1)
    belief = np.where(voted, _mean(votes), 0.0)
    for _ in range(_ROUNDS):
        mine, other = belief[voted], 1 - belief[voted]
        se = (mine @ yes[voted] + _PRIOR) / (mine @ (yes + no)[voted] + 2 * _PRIOR)
        sp = (other @ no[voted] + _PRIOR) / (other @ (yes + no)[voted] + 2 * _PRIOR)
        prevalence = (mine.sum() + _PRIOR) / (len(mine) + 2 * _PRIOR)
        log_odds = np.log(prevalence / (1 - prevalence)) + yes @ np.log(se / (1 - sp)) + no @ np.log((1 - se) / sp)
        new = 1 / (1 + np.exp(-np.clip(log_odds, -700, 700)))
        done = np.abs(new - belief).max(initial=0) < _CLOSE
        belief = new
        if done:
            break
    return belief, (se, sp, float(prevalence))


def _turned(votes: Votes, se: Floats, sp: Floats, odds: tuple[Floats, Floats], *, known: bool) -> bool:
    """Whether the classes have changed places."""
    if known:
        speaks = np.where(votes == 1, odds[0], np.where(votes == 0, odds[1], 0.0)).sum()
        return bool(speaks < 0)
    return bool((se + sp - 1).sum() < 0)
