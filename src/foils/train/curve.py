"""The dev curve: which checkpoint is the best one, and when to stop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from foils.train.dev import HIGH, LOW, METRIC

TASK = "task/"  # begins the names of measures of other tasks
Curve = list[dict[str, float]]


def curve_of(history: Sequence[dict[str, Any]]) -> Curve:
    """The dev measures among the Trainer's log entries, one per step, in order; step 0 is the start model."""
    points = {
        int(entry["step"]): {
            name.removeprefix("eval_"): float(value)
            for name, value in entry.items()
            if name.startswith("eval_") and "@" in name and not name.startswith(f"eval_{TASK}")
        }
        for entry in history
        if f"eval_{METRIC}" in entry
    }
    return [{"step": step, **points[step]} for step in sorted(points)]


def tasks_of(history: Sequence[dict[str, Any]]) -> Curve:
    """Other tasks' measures among the Trainer's log entries, one point per step, in order; step 0 is the start."""
    prefix = f"eval_{TASK}"
    points = {
        int(entry["step"]): {
            name.removeprefix(prefix): float(value) for name, value in entry.items() if name.startswith(prefix)
        }
        for entry in history
        if any(name.startswith(prefix) for name in entry)  # a step's loss is another entry, before or after
    }
    return [{"step": step, **points[step]} for step in sorted(points)]


def spans_of(history: Sequence[dict[str, Any]]) -> Curve:
    """Ends of nDCG@10's interval at each look, ``low`` and ``high``, in order; looks of older versions have none."""
    points = {
        int(entry["step"]): {"low": float(entry[f"eval_{LOW}"]), "high": float(entry[f"eval_{HIGH}"])}
        for entry in history
        if f"eval_{LOW}" in entry and f"eval_{HIGH}" in entry
    }
    return [{"step": step, **points[step]} for step in sorted(points)]


def best_step(curve: Curve) -> int | None:
    """The trained step with the highest nDCG@10, the earliest of equals; None before the first look.

    The start model (step 0) is on the curve for comparison and cannot win: what was asked for is a trained model.
    """
    trained = [point for point in curve if point["step"] > 0]
    return int(max(trained, key=lambda point: point[METRIC])["step"]) if trained else None


def exhausted(curve: Curve, patience: int | None) -> bool:
    """Whether the last ``patience`` looks brought no improvement over the best before them."""
    best = best_step(curve)
    return patience is not None and best is not None and sum(point["step"] > best for point in curve) >= patience
