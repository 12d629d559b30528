"""Beginnings that arms share: a first phase that several trainings have in common is trained once for each seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foils.recipe_values import Phase
from foils.study.arms import Arm
from foils.study.budget import each_phase
from foils.train.options import TrainOptions

LOOKS = 5  # at the dev queries in a training


@dataclass(frozen=True)
class Beginning:
    """A first phase.

    Attributes:
        name: of its folder.
        arm: one that begins so; whose recipe is trained.
        arms: all that do.
        identity: everything that decides what it leaves, but the seed and what all arms share.
    """

    name: str
    arm: Arm
    arms: tuple[str, ...]
    identity: Mapping[str, Any]


def options_of(arm: Arm, train: Mapping[str, Any], steps: int) -> TrainOptions:
    """How each training of an arm is made.

    Args:
        arm: the arm.
        train: options of every training.
        steps: of all trainings of the student together.
    """
    looks = {"evaluate_every": -(-steps // LOOKS)}  # by default once an epoch, which may be a handful of steps
    return TrainOptions.read({**looks, **train, **arm.options, "max_steps": each_phase(arm, steps)})


def beginnings_of(arms: Sequence[Arm], train: Mapping[str, Any], steps: int) -> list[Beginning]:
    """The first phases that more than one of these arms begins with."""
    found: dict[str, list[tuple[Arm, dict[str, Any]]]] = {}
    for arm in arms:
        phase = arm.recipe.phases[0]
        if len(arm.recipe.phases) < 2 or phase.teach is not None:
            continue
        identity = _identity(phase, arm, options_of(arm, train, steps))
        text = json.dumps(identity, sort_keys=True)
        found.setdefault(hashlib.blake2b(text.encode(), digest_size=4).hexdigest(), []).append((arm, identity))
    return [
        Beginning(f"{who[0][0].recipe.phases[0].name}-{key}", who[0][0], tuple(arm.name for arm, _ in who), who[0][1])
        for key, who in found.items()
        if len(who) > 1
    ]


def _identity(phase: Phase, arm: Arm, options: TrainOptions) -> dict[str, Any]:
    given = {name: arm.encoders[name] for name in phase.reads() if name in arm.encoders}
    plain = {"phase": {"name": phase.name, **phase.text()}, "encoders": given, "options": options.record()}
    made: dict[str, Any] = json.loads(json.dumps(plain))
    return made


def beginning_for(arm: Arm, beginnings: Sequence[Beginning]) -> Beginning | None:
    """What an arm begins with."""
    return next((one for one in beginnings if arm.name in one.arms), None)
