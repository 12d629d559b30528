"""Follow a recipe of several phases: trainings of the student, and of cross-encoders between them, in one run folder.

Each phase is a run of its own in ``phases/NUMBER-NAME``, which goes on where it was cut off and is left alone once it
is finished; so the same command after a kill repeats nothing. The last phase's model is the run's model.
"""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from foils.adapters.loading import check_base, check_pairs
from foils.adapters.models import load_encoder, resolve, settled
from foils.core.cache import publish
from foils.core.collection import WRITTEN, Collection
from foils.core.errors import SpecError
from foils.core.formats import load
from foils.core.pairs import Pairs, union
from foils.core.text import did_you_mean
from foils.core.weak import write_weak
from foils.phase import Job, Trained, check_reading, mine_phase, train_phase
from foils.recipe_values import BASE, PREVIOUS, Phase, Recipe
from foils.store import Negatives

if TYPE_CHECKING:
    from foils.train import Run, TrainOptions

log = logging.getLogger(__name__)

_PHASES = "phases"


def follow_phases(
    recipe: Recipe, data: Collection, model: Any, *, out: Path, job: Job, options: TrainOptions | None
) -> Trained:
    """One phase after the other; see `foils.follow.follow`."""
    from foils.train import TrainOptions
    from foils.train.run import MODEL, Run, agree, finish_record, read_record, start_record

    settings = {
        "recipe": recipe.text()["phases"],
        "data": data.fingerprint,
        "split": job.split,
        "model": load_encoder(model).fingerprint("document"),
        "encoders": {name: _identity(given) for name, given in job.encoders.items()},
        "seed": job.seed,
        "options": (options or TrainOptions()).record(),
        **({"teach": job.teach.record()} if job.teach else {}),
    }
    record = read_record(out)
    if record is not None:
        agree(out, record, settings)
        if record["status"] == "finished":
            return Trained(Run(out, record, found_finished=True), None)
    else:
        out.mkdir(parents=True, exist_ok=True)
        start_record(out, {"settings": settings, "notes": {"recipe": recipe.text()}})
    if job.beginning is not None:
        publish(out / _PHASES, partial(_copied, job.beginning / _PHASES))
    begun = time.monotonic()
    done = _Done(recipe, data, model, out, job, options)
    for number, phase in enumerate(recipe.phases, 1):
        log.info("phase %d of %d: %s", number, len(recipe.phases), phase.name)
        done.do(phase, number)
    last = done.runs[recipe.phases[-1].name]
    publish(out / MODEL, partial(_copied, last.model))
    finished = {key: last.record[key] for key in ("steps", "best_step", "curve", "losses")}
    seconds = round(time.monotonic() - begun, 1)
    run = finish_record(out, {**finished, "phases": done.report, "seconds": seconds})
    return Trained(run, done.mined.get(recipe.phases[-1].name))


def begin_phases(
    recipe: Recipe, data: Collection, model: Any, *, out: Path, job: Job, options: TrainOptions | None
) -> float:
    """Train a recipe's first phase alone. `follow_phases` with ``out`` as the job's ``beginning`` finds it finished.

    Returns:
        Seconds that training took, without mining.
    """
    first = recipe.phases[0]
    done = _Done(recipe, data, model, out, job, options)
    done.do(first, 1)
    return float(done.runs[first.name].record["seconds"])


class _Done:
    """What the phases so far have made.

    Attributes:
        models: by the names of phases: what the pipelines and guides of later ones take.
        mined: negatives by the phase that mined them.
        runs: trainings of the student by phase.
        report: for the record.
    """

    def __init__(
        self, recipe: Recipe, data: Collection, model: Any, out: Path, job: Job, options: TrainOptions | None
    ) -> None:
        self.recipe, self.data, self.base, self.out, self.job, self.options = recipe, data, model, out, job, options
        self.models: dict[str, Any] = {}
        self.mined: dict[str, Negatives] = {}
        self.runs: dict[str, Run] = {}
        self.report: list[dict[str, Any]] = []
        self.student: Any = model

    def do(self, phase: Phase, number: int) -> None:
        """One phase, or what is left of it."""
        folder = self.out / _PHASES / f"{number}-{phase.name}"
        if phase.teach is not None and phase.name in self.job.encoders:
            self.models[phase.name] = self.job.encoders[phase.name]
            self.report.append({"name": phase.name, "model": str(self.models[phase.name]), "given": True})
            return
        data = self._data(phase, folder)
        job = replace(self.job, encoders=self._models(phase))
        if phase.queries != "judged":
            whom: Literal["keep", "only"] = "keep" if phase.queries == "all" else "only"
            job = replace(job, miner=replace(job.miner, without_positives=whom))
        if phase.data is not None:
            job = replace(job, split=WRITTEN if data is self.data else "train")
        if phase.mine is not None and (phase.queries != "unjudged" or len(data.unjudged)):
            self.mined[phase.name] = mine_phase(phase.mine, data, self.student, job=job, out=folder / "negatives")
        negatives = self._negatives(phase, data)
        if phase.teach is not None:
            self._teach(phase, data, negatives, job.split, folder)
            return
        self._train(phase, data, negatives, job, folder)

    def _train(self, phase: Phase, data: Collection, negatives: Pairs | None, job: Job, folder: Path) -> None:
        from foils.train.run import NEVER

        start = {BASE: self.base, PREVIOUS: self.student}.get(phase.start)
        start = self.runs[phase.start].model if start is None else start
        run = train_phase(
            phase,
            data,
            start,
            student=self.student,
            negatives=negatives,
            job=job,
            out=folder,
            options=self.options,
            notes={"recipe": self.recipe.name, "phase": phase.name},
        )
        self.runs[phase.name], self.student = run, str(run.model)
        self.models[phase.name] = self.student
        counts = run.record["counts"]["train"]
        made = {"model": str(run.model.relative_to(self.out)), "steps": run.steps, "seconds": run.record["seconds"]}
        wrong = {key: run.record[key] for key in ("breaches", NEVER) if key in run.record}
        self.report.append({"name": phase.name, **made, **run.metrics, "counts": counts, **wrong})

    def _models(self, phase: Phase) -> dict[str, Any]:
        known = {**self.job.encoders, **self.models}
        return {name: known[name] for name in phase.reads() if name in known}

    def _data(self, phase: Phase, folder: Path) -> Collection:
        if phase.data is None or (phase.data == WRITTEN and WRITTEN in self.data.splits):
            return self.data
        place = folder.with_name(f"{folder.name}-data")
        return load(publish(place, lambda partial: _weak(self.data.base, partial, phase, self.job.seed)))

    def _negatives(self, phase: Phase, data: Collection) -> Pairs | None:
        kept = [self.mined[name].kept(data) for name in (phase.name, *phase.adds) if name in self.mined]
        return union(kept) if kept else None

    def _teach(self, phase: Phase, data: Collection, negatives: Pairs | None, split: str, folder: Path) -> None:
        from foils.teach import TeachOptions, teach

        assert phase.teach is not None
        assert negatives is not None, "a phase that teaches mines"
        base = self.models.get(phase.start) or self.job.encoders.get(f"{phase.name}.base", self.base)
        options = replace(self.job.teach or TeachOptions(), loss=phase.teach)
        taught = teach(data, negatives, base, out=folder, split=split, seed=self.job.seed, options=options)
        self.models[phase.name] = str(taught.model)
        made = {"model": str(taught.model.relative_to(self.out)), "steps": taught.steps, **taught.metrics}
        self.report.append({"name": phase.name, **made, "seconds": taught.record["seconds"]})


def check_phases(recipe: Recipe, model: Any, job: Job) -> None:
    """Refuse models that the phases do not take, or that cannot be what they are to be; see `foils.follow.check`."""
    _check_models(recipe, job)
    _check_teachers(recipe, model, job)
    _check_names(recipe, job)


def _check_models(recipe: Recipe, job: Job) -> None:
    taught = {phase.name for phase in recipe.phases if phase.teach is not None}
    named = {name for phase in recipe.phases for name in phase.reads()} | taught | {f"{name}.base" for name in taught}
    made = {phase.name for phase in recipe.phases if phase.teach is None}
    for name in job.encoders:
        if name not in named or name in made:
            used = ", ".join(map(repr, sorted(named - made)))
            raise SpecError(f"--encoder {name}=…: recipe {recipe.name!r} takes no model {name!r}; it takes: {used}.")


def _check_names(recipe: Recipe, job: Job) -> None:
    """A name that nobody defines would be taken for the student; a score that nobody says would be missed later."""
    made = [phase.name for phase in recipe.phases]
    for number, phase in enumerate(recipe.phases):
        known = ["student", *made[:number], *recipe.needs, *job.encoders]
        mining = () if phase.mine is None else phase.mine.encoders()
        scores = set(phase.loss.reads()) - set(mining)  # columns, or models, or what earlier phases saved
        for name in phase.reads():
            if name not in known and name not in scores:
                listed = ", ".join(dict.fromkeys(map(repr, known)))
                raise SpecError(
                    f"recipe {recipe.name!r}, phase {phase.name!r}: nobody makes a model {name!r}."
                    f"{did_you_mean(name, known)} There is: {listed}. A model from outside is listed under needs: or "
                    f"given as --encoder {name}=MODEL."
                )
        if phase.teach is None and not phase.adds:
            check_reading(phase, known)


def _check_teachers(recipe: Recipe, model: Any, job: Job) -> None:
    """What is no cross-encoder, and can be none, is better said now than after the phases before it."""
    taught = [phase for phase in recipe.phases if phase.teach is not None]
    if job.teach is not None and not taught:
        raise SpecError(f"--set teach.…: recipe {recipe.name!r} teaches no cross-encoder; leave it out.")
    names = {phase.name for phase in recipe.phases}
    for phase in taught:
        given = job.encoders.get(phase.name)
        if isinstance(given, str | Path):
            check_pairs(settled(resolve(given)))
        base = job.encoders.get(f"{phase.name}.base", model)
        if given is None and phase.start not in names and isinstance(base, str | Path):
            remedy = f"Pass --encoder {phase.name}.base=minilm, or a cross-encoder as --encoder {phase.name}=MODEL."
            check_base(settled(resolve(base)), remedy)


def _identity(model: Any) -> str:
    # By content where that costs nothing; the phases that use a model compare its weights in any case.
    made = getattr(model, "fingerprint", None)
    return str(model) if made is None else str(made("document") if callable(made) else made)


def _weak(data: Collection, folder: Path, phase: Phase, seed: int) -> None:
    assert phase.data is not None
    if phase.data == WRITTEN:
        log.info("phase %s: no queries were written for %r, so sentences ask in their place", phase.name, data.name)
    write_weak(data, folder, "sentences" if phase.data == "written" else phase.data, seed)


def _copied(model: Path, folder: Path) -> None:
    shutil.copytree(model, folder, dirs_exist_ok=True)
