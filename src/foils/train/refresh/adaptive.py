"""Shares of kinds of negatives that follow training, as a function of what a checkpoint says was logged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foils.core.spec import resolve
from foils.stages.mix import AdaptiveMix
from foils.stages.stage import Stage
from foils.train.batch import STUDENT

_PREFIX = "foils/"


def adapted(
    pipeline: Stage, history: Sequence[Mapping[str, Any]], at: float
) -> tuple[Stage, dict[str, dict[str, float]]]:
    """A pipeline with the shares that training so far gives, and those shares.

    Args:
        pipeline: with its schedules.
        history: what the checkpoint says was logged, in order.
        at: progress of training, for schedules of the stages that adapt.

    Returns:
        The pipeline, and of each kind its ``share``, the ``push`` of one negative and the share ``false``, as far as
        they are known; empty for a pipeline in which nothing adapts.
    """
    told: dict[str, dict[str, float]] = {}

    def change(stage: Stage) -> Stage:
        if not isinstance(stage, AdaptiveMix):
            return stage
        push, false = figures(stage, history)
        made: AdaptiveMix = resolve(stage, at).adapted(push, false)
        shares = made.weights or (1.0,) * len(made.kinds)
        for kind, share in zip(made.kinds, shares, strict=True):
            seen = {"push": push.get(kind), "false": false.get(kind)}
            known = {name: round(value, 6) for name, value in seen.items() if value is not None}
            told[kind] = {"share": round(share / sum(shares), 6), **known}
        return made

    return pipeline.each(change), told


def figures(stage: AdaptiveMix, history: Sequence[Mapping[str, Any]]) -> tuple[dict[str, float], dict[str, float]]:
    """Push of one negative of each kind, and the share of its negatives above the positive.

    Means over the steps that were looked at since the generation in use came into use, weighted by the number of
    negatives; if there was none, those of the newest step that was looked at.
    """
    taken = [place for place, entry in enumerate(history) if f"{_PREFIX}generation" in entry]
    looks = [entry for entry in history[taken[-1] if taken else 0 :] if f"{_PREFIX}loss" in entry]
    looks = looks or [entry for entry in history if f"{_PREFIX}loss" in entry][-1:]
    above = "above" if stage.judge == STUDENT else f"above_{stage.judge}"
    push, false = {}, {}
    for kind in stage.kinds:
        count = sum(entry.get(f"{_PREFIX}count/{kind}", 0.0) for entry in looks)
        if not count > 0:
            continue
        push[kind] = sum(entry.get(f"{_PREFIX}share/{kind}", 0.0) for entry in looks) / count
        judged = [entry for entry in looks if f"{_PREFIX}{above}/{kind}" in entry]
        weight = sum(entry[f"{_PREFIX}count/{kind}"] for entry in judged)
        if weight > 0:
            over = (entry[f"{_PREFIX}{above}/{kind}"] * entry[f"{_PREFIX}count/{kind}"] for entry in judged)
            false[kind] = sum(over) / weight
    return push, false


def watched(pipeline: Stage) -> tuple[str, ...]:
    """Columns of the mined negatives that training has to look at for the shares."""
    judges = (step.judge for step in pipeline.steps() if isinstance(step, AdaptiveMix) and step.judge != STUDENT)
    return tuple(dict.fromkeys(judges))


def adapts(pipeline: Stage | None) -> bool:
    """Whether anything in it changes with what training logs."""
    return pipeline is not None and any(isinstance(step, AdaptiveMix) for step in pipeline.steps())
