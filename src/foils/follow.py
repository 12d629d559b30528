"""Follow a recipe: mine as it says, then train; phase by phase where it has several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from foils.core.collection import Collection
from foils.core.errors import SpecError
from foils.phase import Job, Trained, check_reading, mine_phase, train_phase
from foils.phases import check_phases, follow_phases
from foils.recipe_values import Recipe

if TYPE_CHECKING:
    from foils.train import TrainOptions

__all__ = ["Job", "Trained", "check", "follow"]


def follow(
    recipe: Recipe,
    data: Collection,
    model: Any,
    *,
    out: str | Path,
    job: Job | None = None,
    options: TrainOptions | None = None,
) -> Trained:
    """Mine as the recipe says, then train.

    Args:
        recipe: the declared decisions.
        data: the collection.
        model: the student, as `foils.train.train` takes it; it also is every bi-encoder that ``job`` does not name.
        out: folder of the run; mined negatives are in ``negatives`` in it, phases in ``phases``.
        job: split, seed, models, and the like.
        options: how long and how fast to train.

    Raises:
        SpecError: a model is given that the recipe does not name, or negatives for a recipe of several phases.
        PipelineError: the loss reads a score that nothing says.
    """
    job, folder = job or Job(), Path(out)
    check(recipe, model, job)
    if len(recipe.phases) > 1:
        return follow_phases(recipe, data, model, out=folder, job=job, options=options)
    phase = recipe.only
    mined = None
    if phase.mine is not None and job.negatives is None:
        mined = mine_phase(phase.mine, data, model, job=job, out=folder / "negatives")
    negatives = mined or job.negatives
    kept = None if negatives is None else negatives.kept(data)
    notes = {"recipe": recipe.text(), "negatives": None if negatives is None else negatives.pipeline}
    run = train_phase(
        phase, data, model, student=model, negatives=kept, job=job, out=folder, options=options, notes=notes
    )
    return Trained(run, mined)


def check(recipe: Recipe, model: Any, job: Job) -> None:
    """What can be said without the collection, before anything is mined or trained; see `follow`.

    Raises:
        SpecError: a model is given that the recipe does not name, or negatives for a recipe of several phases.
        PipelineError: the loss reads a score that nothing says.
        ModelError: a model that is to be a cross-encoder cannot be one.
    """
    if len(recipe.phases) > 1:
        if job.negatives is not None:
            raise SpecError(f"--negatives: recipe {recipe.name!r} mines in {len(recipe.phases)} phases; leave it out.")
        check_phases(recipe, model, job)
    else:
        _check_models(recipe, job)
        if job.negatives is None:
            check_reading(recipe.only, job.encoders)


def _check_models(recipe: Recipe, job: Job) -> None:
    if job.teach is not None:
        raise SpecError(f"--set teach.…: recipe {recipe.name!r} teaches no cross-encoder; leave it out.")
    mines = None if job.fallback is None else job.fallback.pipeline
    wanted = tuple(dict.fromkeys((*recipe.only.reads(), *(() if mines is None else mines.encoders()))))
    for name in job.encoders:
        if name not in wanted:
            used = ", ".join(map(repr, wanted)) or "none"
            raise SpecError(f"--encoder {name}=…: recipe {recipe.name!r} names no model {name!r}; it names: {used}.")
