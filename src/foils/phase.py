"""One phase of a recipe: mine, then train."""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foils.adapters.models import load_encoder
from foils.adapters.precision import Precision
from foils.core.collection import Collection
from foils.core.errors import PipelineError
from foils.core.pairs import Pairs
from foils.core.spec import scheduled
from foils.mine import Miner
from foils.pipelines import crossing, open_models
from foils.recipe_values import Phase
from foils.stages.load import Load
from foils.stages.stage import Stage
from foils.store import Negatives

if TYPE_CHECKING:
    from foils.evaluate.transfer import Task
    from foils.teach import TeachOptions
    from foils.train import Fallback, Guard, Run, TrainOptions
    from foils.train.refresh import Mining

log = logging.getLogger(__name__)


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
        teach: how cross-encoders between the phases are trained; their loss is the recipe's.
        guard: bounds of every training of the student, instead of the recipe's.
        fallback: what each goes on with beyond them, instead of the recipe's.
        tasks: other tasks that the student is measured on at each look at dev.
        influence: whether to count what every negative does.
        beginning: folder of `foils.phases.begin_phases` of the same first phase, which is then not trained anew.
    """

    split: str = "train"
    seed: int = 0
    encoders: Mapping[str, Any] = field(default_factory=dict)
    miner: Miner = field(default_factory=Miner)
    negatives: Negatives | None = None
    precision: Precision = "auto"
    teach: TeachOptions | None = None
    guard: Guard | None = None
    fallback: Fallback | None = None
    tasks: Sequence[Task] = ()
    influence: bool = False
    beginning: Path | None = None


@dataclass(frozen=True)
class Trained:
    """What following a recipe left.

    Attributes:
        run: the training run.
        mined: the negatives that were mined for it; None if the recipe mines nothing or they were there already.
    """

    run: Run
    mined: Negatives | None


def mine_phase(pipeline: Stage, data: Collection, student: Any, *, job: Job, out: Path) -> Negatives:
    """What a phase mines.

    Args:
        pipeline: the stages.
        data: the collection.
        student: every bi-encoder that ``job`` does not name.
        job: split, seed, models, and the like.
        out: folder of the negatives.
    """
    given = {name: model for name, model in job.encoders.items() if name in pipeline.encoders()}
    models = open_models(pipeline, given, default=student, precision=job.precision)
    found = job.miner.mine(data, pipeline, split=job.split, seed=job.seed, encoders=models, out=out)
    if not found.manifest["counts"]["kept"]:
        log.warning("%r keeps no negative for any query, so training goes on without mined ones", pipeline)
    return found


def check_reading(phase: Phase, given: Container[str]) -> None:
    """Refuse a loss that reads a score which nothing says, before anything is mined.

    Args:
        phase: a training of the student, on what it mines itself.
        given: names of models that it may be given.

    Raises:
        PipelineError: as training would say after mining.
    """
    from foils.train.job import no_score

    steps = () if phase.mine is None else tuple(phase.mine.steps())
    if any(isinstance(step, Load) or not type(step).__module__.startswith("foils.") for step in steps):
        return  # what columns those bring is known when they are opened
    saved = [column for step in steps if (column := getattr(step, "column", None)) is not None]
    brought = (name for bringer in phase.contrast.bringers() for name in bringer.brings())
    have = tuple(dict.fromkeys((*saved, *sorted(_guiding(phase, given)), *brought)))
    for name in phase.loss.reads():
        if name not in have:
            raise no_score(phase.loss, name, have)


def _guiding(phase: Phase, given: Container[str]) -> set[str]:
    """The models that say scores in training."""
    from foils.train.batch import STUDENT

    # What the loss reads is a column that mining saved, unless a model of that name is given that did not mine.
    mining = () if phase.mine is None else phase.mine.encoders()
    wanted = {name for name in phase.loss.reads() if name in given and name not in mining}
    others = {name for name in (*phase.contrast.frozen(), *phase.batches.encoders()) if name != STUDENT}
    return {*phase.contrast.reads(), *others, *wanted} - crossing(phase.mine)


def train_phase(
    phase: Phase,
    data: Collection,
    model: Any,
    *,
    student: Any,
    negatives: Pairs | None,
    job: Job,
    out: Path,
    options: TrainOptions | None,
    notes: Mapping[str, Any],
) -> Run:
    """What a phase trains.

    Args:
        phase: the declared decisions.
        data: the collection.
        model: weights to begin with.
        student: every model that contrast and batches read and ``job`` does not name.
        negatives: what was mined, or None.
        job: split, seed, models, and the like.
        out: folder of the run.
        options: how long and how fast to train.
        notes: for the record.
    """
    from foils.train import TrainSpec, train
    from foils.train.guard.values import MILD
    from foils.train.refresh import Never
    from foils.train.refresh.adaptive import adapts

    if (scheduled(phase.mine) or adapts(phase.mine)) and isinstance(phase.refresh, Never):
        log.warning("%r is mined once, so its numbers stay as at the beginning; add refresh: Every(…)", phase.mine)
    wanted = sorted(_guiding(phase, job.encoders))
    guides = {name: load_encoder(job.encoders.get(name, student), precision=job.precision) for name in wanted}
    spec = TrainSpec(
        phase.contrast,
        phase.loss,
        phase.batches,
        negatives,
        job.split,
        dict(notes),
        guides,
        phase.refresh,
        _mining(phase, job),
        share=phase.share,
        rate=phase.rate,
        guard=job.guard or phase.guard or MILD,
        fallback=_fallback(phase, job, data, student),
        tasks=job.tasks,
        influence=job.influence,
    )
    return train(data, spec, model, out=out, seed=job.seed, options=options)


def _mining(phase: Phase, job: Job) -> Mining | None:
    """How to mine again, if the phase ever does."""
    from foils.train.refresh import Never

    return None if phase.mine is None or isinstance(phase.refresh, Never) else _again(phase.mine, job)


def _again(pipeline: Stage, job: Job) -> Mining:
    """Bi-encoders that were not given are the student as it is then."""
    from foils.train.refresh import Mining

    given = {name: model for name, model in job.encoders.items() if name in pipeline.encoders()}
    for name in sorted(crossing(pipeline) - set(given)):
        raise PipelineError(f"{pipeline!r}: no cross-encoder {name!r} was given. Pass --encoder {name}=MODEL.")
    models = open_models(pipeline, given, precision=job.precision)
    first = None if job.negatives is None else job.negatives.path
    return Mining(pipeline, models, given, job.seed, job.miner, job.precision, first)


def _fallback(phase: Phase, job: Job, data: Collection, student: Any) -> Fallback | None:
    """The fallback with what it may have to mine with; one that could not is refused now, not after a breach."""
    back = job.fallback or phase.fallback
    if back is None or back.mine is None or back.mining is not None:
        return back
    try:
        mining = _again(back.mine, job)
        models = {**mining.models, **dict.fromkeys(mining.students, load_encoder(student, precision=job.precision))}
        job.miner.check(data, back.mine, split=job.split, encoders=models)
    except PipelineError as error:
        raise PipelineError(f"fallback: {error}") from None
    return replace(back, mining=mining)
