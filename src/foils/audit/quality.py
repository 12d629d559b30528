"""How good a judge is, against a better one; and how far several people agree."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.audit.judges.protocol import RELEVANT, UNKNOWN, Verdicts

BINS = 15

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Quality:
    """A judge against a reference, each item as many times as it stands for; None where it cannot be told.

    Attributes:
        items: that both have judged.
        precision: of what it calls relevant, the share that is.
        recall: of what is relevant, the share that it finds (sensitivity).
        specificity: of what is irrelevant, the share that it leaves.
        kappa: Cohen's (1960): agreement beyond chance, ``(p_o - p_e)/(1 - p_e)``.
        ece: expected calibration error of its probabilities, 15 bins; see `foils.adapters.calibration`.
    """

    items: int
    precision: float | None
    recall: float | None
    specificity: float | None
    kappa: float | None
    ece: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def quality(said: Verdicts, truth: Floats, weight: Floats) -> Quality:
    """Measure verdicts against a reference.

    Args:
        said: what the judge says.
        truth: 0 to 1 for each item, NaN where the reference does not know; between 0 and 1 it counts to both sides.
        weight: how many items each stands for.
    """
    both = (said.verdict != UNKNOWN) & ~np.isnan(truth)
    found, y, w = said.verdict[both] == RELEVANT, truth[both], weight[both]
    hit, alarm = float((w * y)[found].sum()), float((w * (1 - y))[found].sum())
    missed, left = float((w * y)[~found].sum()), float((w * (1 - y))[~found].sum())
    p = said.probability[both].astype(np.float64)
    known = ~np.isnan(p)
    return Quality(
        int(both.sum()),
        _part(hit, hit + alarm),
        _part(hit, hit + missed),
        _part(left, left + alarm),
        kappa(hit, alarm, missed, left),
        _calibration_error(p[known], y[known], w[known]) if known.any() else None,
    )


def kappa(hit: float, alarm: float, missed: float, left: float) -> float | None:
    """Cohen's kappa of a table of two by two; None where chance alone agrees always.

    >>> kappa(20, 5, 10, 15)
    0.4
    """
    total = hit + alarm + missed + left
    if not total:
        return None
    seen = (hit + left) / total
    chance = ((hit + alarm) * (hit + missed) + (missed + left) * (alarm + left)) / total**2
    return None if chance >= 1 else round((seen - chance) / (1 - chance), 12)


def agreement(votes: list[list[float]]) -> dict[str, float | int | None]:
    """How far several people agree, over the items that at least two have labelled.

    ``share`` of agreeing pairs, each item alike; ``kappa = (share - p_e)/(1 - p_e)`` with ``p_e`` from the pooled share
    of both answers (Fleiss 1971, for any number of labels an item). A graded label agrees with another one as far as
    both are alike.

    Args:
        votes: of each item, its labels, 0 to 1.
    """
    several = [np.asarray(one) for one in votes if len(one) > 1]
    if not several:
        return {"items": 0, "share": None, "kappa": None}
    alike = [1 - _apart(one) / (len(one) * (len(one) - 1) / 2) for one in several]
    share, said = float(np.mean(alike)), np.concatenate(several)
    chance = 1 - _apart(said) / (len(said) ** 2 / 2)
    return {
        "items": len(several),
        "share": share,
        "kappa": None if chance >= 1 else (share - chance) / (1 - chance),
    }


def _apart(values: Floats) -> float:
    """The differences of all pairs, summed: each gap between neighbours lies within as many pairs as it parts."""
    below = np.arange(1, len(values))
    return float(np.diff(np.sort(values)) @ (below * (len(values) - below)))


def _part(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def _calibration_error(p: Floats, y: Floats, w: Floats) -> float:
    place = np.minimum((p * BINS).astype(np.int64), BINS - 1)
    return float(np.abs(np.bincount(place, w * (y - p), minlength=BINS)).sum() / w.sum())
