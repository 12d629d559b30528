"""From a cross-encoder's logits to probabilities, and how far those are from what is observed.

A probability always is one of a population: how often a document is relevant *among documents like those it was fitted
on*. A `Calibration` says which in ``population``. Among documents of another mix of positives and negatives, such as
all that a retriever finds, shift the logit by the difference of the log-odds of the two mixes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.core.atomic import replacing
from foils.core.errors import ModelError

FILE = "calibration.json"
BINS = 15
_METHOD = "platt"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """``p = σ(scale·z + shift)`` of a logit z: Platt scaling (Platt 1999), which is temperature scaling with a shift.

    Attributes:
        scale: a, above 0, so that the order of documents does not change; one over the temperature.
        shift: b, in nats.
        population: what the probabilities refer to.
        report: pairs, positives, and measures before and after, as they were when it was fitted.
    """

    scale: float
    shift: float
    population: str = ""
    report: dict[str, Any] = field(default_factory=dict)

    def log_odds(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """``a·z + b``, float32 (n,)."""
        return (self.scale * np.asarray(logits, np.float64) + self.shift).astype(np.float32)

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """``σ(a·z + b)``, float32 (n,)."""
        return sigmoid(self.scale * np.asarray(logits, np.float64) + self.shift).astype(np.float32)

    def write(self, folder: Path) -> None:
        """Save it with a model."""
        content = {"method": _METHOD, **asdict(self)}
        with replacing(folder / FILE) as partial:
            partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Calibration | None:
        """That of a model folder, or None if it has none.

        Raises:
            ModelError: the file is not what `write` left.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            method = content.pop("method")
            found = cls(**content)
            fine = method == _METHOD and 0 < found.scale < np.inf and np.isfinite(found.shift)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelError(f"{path}: cannot be read ({error}). Remove it, or train the teacher again.") from None
        if not fine:
            raise ModelError(f"{path}: method {method!r}, scale {found.scale!r}, shift {found.shift!r} cannot be used.")
        return found


def sigmoid(x: NDArray[np.floating]) -> Floats:
    """``1 / (1 + e^-x)`` without overflow, float64."""
    x = np.asarray(x, np.float64)
    small = np.exp(-np.abs(x))
    p: Floats = np.where(x >= 0, 1.0, small) / (1.0 + small)
    return p


def fit(
    logits: NDArray[np.floating], labels: NDArray[Any], weights: NDArray[np.floating] | None = None
) -> tuple[float, float] | None:
    """The a and b of least negative log-likelihood of ``σ(a·z + b)``, by Newton's method.

    Targets are Platt's: ``(n⁺ + 1) / (n⁺ + 2)`` for positives and ``1 / (n⁻ + 2)`` for negatives, which keeps a finite
    where logits separate the two. Platt 1999, section 2.2; Lin, Lin and Weng 2007 for the damped Newton step.

    Args:
        logits: (n,).
        labels: bool (n,), or probabilities where annotators disagree, 0 to 1.
        weights: how many pairs each stands for, (n,); 1 by default. Their mean counts as 1.

    Returns:
        None if one kind is missing, or logits do not rise with relevance (a would not be above 0).
    """
    z, y = np.asarray(logits, np.float64), np.asarray(labels, np.float64)
    w = np.ones(len(z)) if weights is None else np.asarray(weights, np.float64) / np.mean(weights)
    positives, negatives = float(w @ y), float(w @ (1 - y))
    if not positives or not negatives:
        return None
    target = y * (positives + 1) / (positives + 2) + (1 - y) / (negatives + 2)
    point = np.array([0.0, np.log((positives + 1) / (negatives + 1))])
    features = np.stack([z, np.ones_like(z)])
    value = _soft_loss(point @ features, target, w)
    for _ in range(100):
        p = sigmoid(point @ features)
        gradient = features @ (w * (p - target))
        if np.abs(gradient).max() < 1e-9 * len(z):
            break
        hessian = (features * (w * p * (1 - p))) @ features.T + 1e-12 * np.eye(2)
        step, size = np.linalg.solve(hessian, gradient), 1.0
        while size > 1e-10 and (new := _soft_loss((point - size * step) @ features, target, w)) > value:
            size /= 2
        if size <= 1e-10:
            break
        point, value = point - size * step, new
    return (float(point[0]), float(point[1])) if point[0] > 0 else None


def _soft_loss(log_odds: Floats, target: Floats, weights: Floats | None = None) -> float:
    losses = np.logaddexp(0.0, log_odds) - target * log_odds
    return float(losses.sum() if weights is None else weights @ losses)


def nll(log_odds: NDArray[np.floating], labels: NDArray[np.bool_]) -> float:
    """Mean negative log-likelihood in nats: ``mean(ln(1 + e^x) - y·x)``."""
    return _soft_loss(np.asarray(log_odds, np.float64), np.asarray(labels, np.float64)) / max(1, len(labels))


def expected_calibration_error(
    probabilities: NDArray[np.floating],
    labels: NDArray[Any],
    bins: int = BINS,
    weights: NDArray[np.floating] | None = None,
) -> float:
    """``Σ_b n_b/n · |mean y - mean p|`` over bins of equal width of p.

    Naeini et al. 2015; with 15 bins as Guo et al. 2017, arXiv:1706.04599, section 2. A probability of exactly 1 is in
    the last bin.

    >>> round(expected_calibration_error(np.array([.95, .95, .95, .95]), np.array([1, 1, 0, 1], bool)), 6)
    0.2
    """
    p, y = np.asarray(probabilities, np.float64), np.asarray(labels, np.float64)
    place = np.minimum((p * bins).astype(np.int64), bins - 1)
    w = np.ones(len(p)) if weights is None else np.asarray(weights, np.float64)
    gaps = np.bincount(place, w * (y - p), minlength=bins)
    return float(np.abs(gaps).sum() / max(1.0, w.sum()))
