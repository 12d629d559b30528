"""The margin formulas, once.

They are written with operators that numpy arrays and torch tensors share, so mining and the mask inside a training step
take the same decisions.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

MarginKind = Literal["relative", "absolute"]
Closeness = Literal["relative", "absolute", "quantile", "score"]
Ties = Literal["drop", "keep"]


def ceiling(positive: Any, margin: float, kind: MarginKind) -> Any:
    """The highest score that a negative may have, given the positive's.

    absolute: ``s⁺ - m``;  relative: ``s⁺ - |s⁺|·m``.

    The relative form is safe for negative scores: with s⁺ = -0.2 and m = 0.05 the ceiling is -0.21, where the usual
    ``s⁺·(1 - m)`` would give -0.19 and invert the rule.

    Args:
        positive: score of the positive; any array or tensor.
        margin: in score units (absolute) or as a share of ``|s⁺|`` (relative).
        kind: which formula.

    >>> round(ceiling(-0.2, 0.05, "relative"), 4), round(ceiling(0.8, 0.05, "absolute"), 4)
    (-0.21, 0.75)
    """
    if kind == "absolute":
        return positive - margin
    return positive - abs(positive) * margin


def closeness(score: Any, positive: Any, kind: MarginKind) -> Any:
    """Minus the margin by which a candidate stays below the positive; ``s < ceiling(s⁺, m)`` is ``closeness < -m``.

    absolute: ``s - s⁺``;  relative: ``(s - s⁺) / |s⁺|``; where s⁺ is 0, infinite with the sign of s, and 0
    where both are.

    >>> round(float(closeness(np.float64(-0.22), np.float64(-0.2), "relative")), 4)
    -0.1
    """
    if kind == "absolute":
        return score - positive
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = (score - positive) / abs(positive)
    return np.where((score == positive) & (positive == 0), 0.0, gap)


def angle(cosine: Any) -> Any:
    """The angle in degrees, 0 to 180, that belongs to a cosine; values a rounding beyond ±1 count as ±1.

    >>> round(float(angle(np.float64(0.5))), 6), float(angle(np.float64(1.0000001)))
    (60.0, 0.0)
    """
    inside = cosine.clip(-1.0, 1.0)
    radians = inside.arccos() if hasattr(inside, "arccos") else np.arccos(inside)
    return radians * (180.0 / math.pi)


def below(score: Any, bound: Any, ties: Ties) -> Any:
    """Whether a score passes under a ceiling; ``ties`` says what happens at equality.

    ``drop`` is the strict inequality of NV-Retriever, ``keep`` the one of sentence-transformers and GISTEmbed. A bound
    of NaN (a query without positives) has nothing to compare with: everything passes.
    """
    return ~(score >= bound) if ties == "drop" else ~(score > bound)
