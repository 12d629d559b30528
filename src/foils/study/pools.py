"""Candidates that arms share: a source that several trainings search with the same model is searched once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from foils.core.spec import full
from foils.recipe_values import Recipe
from foils.stages.load import Load
from foils.stages.shortfall import Ensure
from foils.stages.sources import BM25, Dense
from foils.stages.stage import Stage, Then
from foils.study.arms import Arm


@dataclass(frozen=True)
class Pool:
    """The candidates of one source, to the greatest depth that an arm asks for.

    Attributes:
        name: of its folder.
        source: the stage.
        encoders: the models that it was searched with; the start model where there is none.
        arms: who takes from it.
    """

    name: str
    source: BM25 | Dense
    encoders: Mapping[str, str]
    arms: tuple[str, ...]


def pools_of(arms: Sequence[Arm], seeds: int) -> list[Pool]:
    """The sources that more than one training begins with, each to the greatest depth."""
    found: dict[str, Pool] = {}
    for arm in arms:
        source = leading(arm.recipe)
        if source is None:
            continue
        encoders = {name: arm.encoders[name] for name in source.encoders() if name in arm.encoders}
        key = _key(source, encoders)
        pool = found.get(key, Pool(f"{source.kind}-{key[:8]}", source, encoders, ()))
        deepest = source if source.k > pool.source.k else pool.source
        found[key] = replace(pool, source=deepest, arms=(*pool.arms, arm.name))
    return [pool for pool in found.values() if len(pool.arms) * seeds > 1]


def leading(recipe: Recipe) -> BM25 | Dense | None:
    """The source that a recipe of one training begins with, if its candidates can be had from a folder as well.

    Several phases mine with a model of their own, what draws differs from seed to seed, and `Ensure` goes back to the
    source itself.
    """
    pipeline = recipe.phases[0].mine
    if len(recipe.phases) > 1 or not isinstance(pipeline, Then):
        return None
    first = pipeline.stages[0]
    if any(isinstance(stage, Ensure) for stage in pipeline.steps()):
        return None
    return first if isinstance(first, BM25 | Dense) else None


def from_pool(recipe: Recipe, folder: Path) -> Stage:
    """The recipe's pipeline with its source's candidates taken from a folder."""
    pipeline, source = recipe.only.mine, leading(recipe)
    assert isinstance(pipeline, Then), "see `leading`"
    assert source is not None, "see `leading`"
    return Then((Load(str(folder), k=source.k, which="all"), *pipeline.stages[1:]))


def pool_for(arm: Arm, pools: Iterable[Pool]) -> Pool | None:
    """The pool that an arm takes from."""
    return next((pool for pool in pools if arm.name in pool.arms), None)


def _key(source: BM25 | Dense, encoders: Mapping[str, Any]) -> str:
    text = repr((full(replace(source, k=1)), sorted(encoders.items())))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
