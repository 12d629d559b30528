"""Calibrate a trained teacher on pairs of held-out queries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foils.adapters.calibration import Calibration, expected_calibration_error, fit, nll, sigmoid
from foils.adapters.sentence import CrossEncoderScorer
from foils.core import noise
from foils.teach.dev import Candidates
from foils.teach.job import pairs_of
from foils.teach.options import TeachOptions

_FOLDS = 5
Floats = NDArray[np.float64]


def calibrate(model: CrossEncoderScorer, dev: Candidates, options: TeachOptions) -> Calibration | None:
    """Fit ``σ(a·z + b)`` to held-out pairs made as training makes them: each positive with its share of negatives.

    What is reported as ``after`` is measured on queries that the fit has not seen: 5 folds by a hash of the query ids.

    Returns:
        None if one kind of pairs is missing, or logits do not rise with relevance.
    """
    rows = np.arange(len(dev.rows))
    query, doc, owner = pairs_of(dev.rows, rows, 0, options.negatives_per_row)
    labels = np.diff(owner, prepend=-1) > 0
    logits = dev.score(model.logits(), query, doc)
    found = fit(logits, labels)
    if found is None:
        return None
    unseen = _out_of_fold(logits, labels, noise.bits(0, "fold", dev.data.queries.keys[query], np.zeros(1, np.uint64)))
    plain = logits.astype(np.float64)
    ratio = (len(labels) - int(labels.sum())) / max(1, int(labels.sum()))
    report = {
        "pairs": len(labels),
        "positives": int(labels.sum()),
        "queries": len(np.unique(query)),
        "ece_before": round(expected_calibration_error(sigmoid(plain), labels), 4),
        "ece_after": round(expected_calibration_error(sigmoid(unseen), labels), 4),
        "nll_before": round(nll(plain, labels), 4),
        "nll_after": round(nll(unseen, labels), 4),
    }
    population = f"known positives and mined negatives as trained on, 1 to {ratio:.2f}"
    return Calibration(*found, population=population, report=report)


def _out_of_fold(logits: NDArray[np.float32], labels: NDArray[np.bool_], keys: NDArray[np.uint64]) -> Floats:
    """Calibrated log-odds of each pair by a fit on the other folds; by a fit on all where those have one kind only."""
    fold = keys % np.uint64(_FOLDS)
    odds = np.empty(len(logits), np.float64)
    for number in range(_FOLDS):
        here = fold == number
        a, b = fit(logits[~here], labels[~here]) or fit(logits, labels) or (1.0, 0.0)
        odds[here] = a * logits[here].astype(np.float64) + b
    return odds
