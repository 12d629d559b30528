"""Follow a recipe: mine as it says, then train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foils.adapters.models import load_encoder, load_reranker
from foils.adapters.precision import Precision
from foils.adapters.protocols import Encoder, Reranker
from foils.core.collection import Collection
from foils.core.errors import SpecError
from foils.core.spec import parse, registry
from foils.mine import Miner
from foils.recipe import Recipe, load_recipe, shipped, source
from foils.stages.load import Load
from foils.stages.stage import Stage
from foils.store import Negatives

if TYPE_CHECKING:
    from foils.train import Run, TrainOptions
    from foils.train.refresh import Mining


def pipeline_of(text: str) -> Stage:
    """A pipeline from its text, or that of a recipe from its name or file.

    Raises:
        SpecError: it cannot be read, or the recipe mines nothing.
    """
    if text in shipped() or text.endswith((".yaml", ".yml")):
        recipe = load_recipe(text)
        if recipe.mine is None:
            raise SpecError(
                f"recipe {recipe.name!r} mines nothing; it is complete with: foils train DATA --recipe {text}"
            )
        return recipe.mine
    if "(" not in text and text not in registry("stage"):
        # A word is more likely a misspelt recipe than a stage without parentheses.
        source(text)
    stage: Stage = parse(text)
    return stage


def reselecting(pipeline: Stage, candidates: str | Path) -> Stage:
    """A pipeline that chooses among all candidates of a folder of negatives, with their saved scores.

    Args:
        pipeline: filters, samplers, scorers and labelers; no source at its beginning.
        candidates: folder that was mined before.

    Raises:
        SpecError: the pipeline begins with a source.
    """
    first = next(pipeline.steps())
    if first.family == "source":
        raise SpecError(
            f"--candidates: the pipeline begins with {first!r}, which searches again. Leave its sources out, such as "
            f"PositiveAware() >> Top(k=4); or do without --candidates."
        )
    return Load(str(candidates), which="all") >> pipeline


def open_models(
    pipeline: Stage, given: Mapping[str, Any], default: Any = None, precision: Precision = "auto"
) -> dict[str, Encoder | Reranker]:
    """Load the models that a pipeline names: cross-encoders for stages that read pairs, bi-encoders for the rest.

    Args:
        pipeline: the stages.
        given: name in the pipeline -> what `load_encoder` or `load_reranker` takes.
        default: for bi-encoders that are not given, such as the student; None for none.
        precision: of models that are loaded by name here.

    Raises:
        SpecError: a model is given that the pipeline does not name.
    """
    crossing = {name for stage in pipeline.steps() if stage.crosses for name in stage.encoders()}
    names = pipeline.encoders()
    for name in given:
        if name not in names:
            used = ", ".join(repr(n) for n in names) or "none"
            raise SpecError(f"--encoder {name}=…: the pipeline names no model {name!r}; it names: {used}.")
    models: dict[str, Encoder | Reranker] = {}
    for name in names:
        if name in crossing:
            if name in given:
                models[name] = load_reranker(given[name], precision=precision)
        elif name in given or default is not None:
            models[name] = load_encoder(given.get(name, default), precision=precision)
    return models


@dataclass(frozen=True)
class Job:
    """Where and with what a recipe is followed.

    Attributes:
        split: whose queries to mine and train on.
        seed: of every draw.
        encoders: models by the names that the pipeline uses.
        miner: cache, progress and the like.
        negatives: use these instead of mining.
        precision: of the bi-encoders that mine, where they are loaded by name.
    """

    split: str = "train"
    seed: int = 0
    encoders: Mapping[str, Any] = field(default_factory=dict)
    miner: Miner = field(default_factory=Miner)
    negatives: Negatives | None = None
    precision: Precision = "auto"


@dataclass(frozen=True)
class Trained:
    """What following a recipe left.

    Attributes:
        run: the training run.
        mined: the negatives that were mined for it; None if the recipe mines nothing or they were there already.
    """

    run: Run
    mined: Negatives | None


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
        out: folder of the run; mined negatives are in ``negatives`` in it.
        job: split, seed, models, and the like.
        options: how long and how fast to train.
    """
    from foils.train import TrainSpec, train

    job = job or Job()
    folder = Path(out)
    mined = None
    guides, for_mining = _guides(recipe, job, model)
    mining = _mining(recipe, job, for_mining)
    if recipe.mine is not None and job.negatives is None:
        models = open_models(recipe.mine, for_mining, default=model, precision=job.precision)
        place = folder / "negatives"
        mined = job.miner.mine(data, recipe.mine, split=job.split, seed=job.seed, encoders=models, out=place)
    negatives = mined or job.negatives
    kept = None if negatives is None else negatives.kept(data)
    notes = {"recipe": recipe.text(), "negatives": None if negatives is None else negatives.pipeline}
    parts = (recipe.contrast, recipe.loss, recipe.batches)
    spec = TrainSpec(*parts, kept, job.split, notes, guides, recipe.refresh, mining)
    return Trained(train(data, spec, model, out=folder, seed=job.seed, options=options), mined)


def _mining(recipe: Recipe, job: Job, given: Mapping[str, Any]) -> Mining | None:
    """How to mine again, if the recipe ever does; bi-encoders that were not given are the student as it is then."""
    from foils.train.refresh import Mining, Never

    if recipe.mine is None or isinstance(recipe.refresh, Never):
        return None
    models = open_models(recipe.mine, given, precision=job.precision)
    first = None if job.negatives is None else job.negatives.path
    return Mining(recipe.mine, models, given, job.seed, job.miner, job.precision, first)


def _guides(recipe: Recipe, job: Job, model: Any) -> tuple[dict[str, Encoder], dict[str, Any]]:
    """The models whose scores training reads, and those left for mining.

    What the contrast reads is by default the student at its start. What the loss reads is a column saved by mining,
    unless a model of that name is given that mining has no use for.
    """
    frozen = (name for name in recipe.contrast.frozen() if name != "student")
    mining = () if recipe.mine is None else recipe.mine.encoders()
    judging = (name for name in recipe.loss.reads() if name in job.encoders and name not in mining)
    wanted = tuple(dict.fromkeys((*recipe.contrast.reads(), *frozen, *judging)))
    for name in job.encoders:
        if name not in (*wanted, *mining):
            used = ", ".join(map(repr, (*wanted, *mining))) or "none"
            raise SpecError(f"--encoder {name}=…: recipe {recipe.name!r} names no model {name!r}; it names: {used}.")
    found = {name: load_encoder(job.encoders.get(name, model), precision=job.precision) for name in wanted}
    return found, {name: given for name, given in job.encoders.items() if name in mining}
