"""What one process of a study does: measure the start model, search a pool, or train and measure one arm."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from foils.adapters.tally import TALLY
from foils.core.atomic import replacing
from foils.core.cache import cache_root
from foils.core.collection import Collection
from foils.follow import Job, follow
from foils.mine import Miner
from foils.phase import mine_phase
from foils.phases import begin_phases
from foils.recipe_values import Recipe
from foils.stages.context import Progress
from foils.store import MANIFEST, Negatives
from foils.study import rates
from foils.study.arms import START, Arm
from foils.study.beginnings import options_of
from foils.study.budget import steps_of, trained_steps
from foils.study.estimates import NEGATIVES, keep
from foils.study.memory import peak_memory
from foils.study.pools import Pool, from_pool

RESULT, VALUES, CANDIDATES = "result.json", "values.npz", "candidates"


@dataclass(frozen=True)
class Ground:
    """What all tasks of a study share.

    Attributes:
        data: the collection, with the training queries that are used.
        model: the start model.
        split: whose queries to train on.
        test: whose queries to measure on.
        labels: a split with fuller judgements, or None.
        measures: their names.
        train: options of every training, as plain values.
        keep_models: whether trained models stay.
    """

    data: Collection
    model: str
    split: str
    test: str
    labels: str | None
    measures: tuple[str, ...]
    train: Mapping[str, Any]
    keep_models: bool


@dataclass(frozen=True)
class Task:
    """One process's work; its result is ``result.json`` in its folder, written last.

    Attributes:
        ground: what all share.
        place: folder of the result.
        run: where the TREC run goes; None for a pool.
        arm: the arm; None for the start model.
        seed: of the arm.
        steps: optimiser steps of the training.
        pool: the candidates to search.
        candidates: folder of those that the arm takes; None if it searches itself.
        first: whether only the arm's first phase is to be trained, for all arms that begin so.
        beginning: folder where that was done; None if the arm trains it itself.
        budget: of the start model's task, which settles the steps: what `StudyOptions.amount` gives.
        pilot: the arm whose pace is measured for it.
        identity: what the result is of; kept with it.
    """

    ground: Ground
    place: Path
    run: Path | None = None
    arm: Arm | None = None
    seed: int = 0
    steps: int = 0
    pool: Pool | None = None
    candidates: Path | None = None
    first: bool = False
    beginning: Path | None = None
    budget: tuple[str, float] = ("steps", 0)
    pilot: Arm | None = None
    identity: Mapping[str, Any] = field(default_factory=dict)


def carry_out(task: Task, tell: Progress) -> None:
    """Do what a task says; what a killed process left of it is begun anew, so that its costs are whole."""
    shutil.rmtree(task.place, ignore_errors=True)
    task.place.mkdir(parents=True)
    before, begun = TALLY.counts(), time.monotonic()
    shared: dict[str, Any] = {} if task.beginning is None else json.loads((task.beginning / RESULT).read_text())
    if task.arm is not None and task.first:
        made = _first(task, task.arm, tell)
    elif task.arm is not None:
        made = _arm(task, task.arm, shared.get("wall", 0.0), tell)
    elif task.pool is not None:
        made = _pool(task, task.pool, tell)
    else:
        made = _start(task, tell)
    # What an arm was spared is its own all the same: alone it would have needed it.
    work = {name: count - before[name] + shared.get("work", {}).get(name, 0) for name, count in TALLY.counts().items()}
    total = round(time.monotonic() - begun, 2)
    memory = max((size for size in (peak_memory(), shared.get("memory_mb")) if size is not None), default=None)
    result = {**made, "identity": dict(task.identity), "work": work, "wall": total, "memory_mb": memory}
    write_json(task.place / RESULT, result)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write plain values, sorted; the file appears whole."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _start(task: Task, tell: Progress) -> dict[str, Any]:
    from foils.train.student import open_student

    ground = task.ground
    student = open_student(ground.model)
    begun = time.monotonic()
    _measure(task, ground.model, START, tell)
    seconds = {"mine": 0.0, "train": 0.0, "teach": 0.0, "measure": round(time.monotonic() - begun, 2)}
    steps = steps_of(task.budget, ground, student, task.pilot, task.place / "pilot", tell)
    return {"seconds": seconds, "steps": steps, "model": {"kind": student.kind, "fingerprint": student.fingerprint}}


def _pool(task: Task, pool: Pool, tell: Progress) -> dict[str, Any]:
    begun = time.monotonic()
    job = Job(task.ground.split, 0, pool.encoders, Miner(progress=tell))
    mined = mine_phase(pool.source, task.ground.data, task.ground.model, job=job, out=task.place / CANDIDATES)
    seconds = {"mine": round(time.monotonic() - begun, 2)}
    return {"seconds": seconds, "source": repr(pool.source), "candidates": mined.manifest["counts"]["candidates"]}


def _first(task: Task, arm: Arm, tell: Progress) -> dict[str, Any]:
    ground, stored = task.ground, _stored()
    options = options_of(arm, ground.train, task.steps)
    job = Job(ground.split, task.seed, arm.encoders, Miner(progress=tell))
    begun = time.monotonic()
    seconds = begin_phases(arm.recipe, ground.data, ground.model, out=task.place, job=job, options=options)
    mining = time.monotonic() - begun - seconds
    _forget(stored, {ground.model, *arm.encoders.values()})
    return {"seconds": {"mine": round(max(0.0, mining), 2), "train": seconds}}


def _arm(task: Task, arm: Arm, spared: float, tell: Progress) -> dict[str, Any]:
    ground, folder, stored = task.ground, task.place / "run", _stored()
    options = options_of(arm, ground.train, task.steps)
    job = Job(ground.split, task.seed, arm.encoders, Miner(progress=tell), beginning=task.beginning)
    recipe, mining, begun = arm.recipe, 0.0, time.monotonic()
    mined: Negatives | None = None
    if len(recipe.phases) == 1 and recipe.only.mine is not None:
        pipeline, given = recipe.only.mine, job
        if task.candidates is not None:
            pipeline = from_pool(recipe, task.candidates)
            given = Job(ground.split, task.seed, _read_by(pipeline, arm), job.miner)
        mined = mine_phase(pipeline, ground.data, ground.model, job=given, out=task.place / "mined")
        job = Job(ground.split, task.seed, arm.encoders, job.miner, negatives=mined)
        mining = time.monotonic() - begun
    result = follow(recipe, ground.data, ground.model, out=folder, job=job, options=options)
    run, whole = result.run, time.monotonic() - begun + spared
    again, teaching = _seconds_of_generations(folder), _seconds_of_teachers(run.record, recipe)
    if len(recipe.phases) > 1 and any(phase.mine is not None for phase in recipe.phases):
        mining = whole - teaching - _seconds_of_trainings(run.record, recipe)
    mining += again
    pool = None if task.candidates is None else task.candidates.parent
    searched = 0.0 if pool is None else json.loads((pool / RESULT).read_text(encoding="utf-8"))["seconds"]["mine"]
    values = {"mine": mining, "train": whole - mining - teaching, "teach": teaching, "shared": searched}
    begun = time.monotonic()
    kept = _last_negatives(folder, recipe, mined)
    found = _measure(task, str(run.model), arm.name, tell, kept)
    if kept is not None:
        keep(kept, task.place / NEGATIVES)
    values["measure"] = time.monotonic() - begun
    record = {
        "seconds": {name: round(max(0.0, value), 2) for name, value in values.items()},
        "steps": trained_steps(run.record),
        "curve": run.curve,
        "pool": None if pool is None else pool.name,
        "pipeline": None if kept is None else kept.pipeline,
        "negatives": None if kept is None else kept.manifest["counts"]["kept"],
        **found,
    }
    _tidy(task, run.model, stored, {ground.model, *arm.encoders.values()})
    return record


def _measure(
    task: Task, model: str, name: str, tell: Progress, negatives: Negatives | None = None
) -> dict[str, dict[str, float]]:
    from foils.evaluate import Settings, evaluate

    ground = task.ground
    settings = Settings(rounds=1, progress=tell)
    scores = evaluate(ground.data, model, split=ground.test, measures=ground.measures, settings=settings)
    arrays: dict[str, Any] = {f"measure:{name}": values for name, values in scores.per_query.items()}
    arrays["queries"] = np.array(scores.query_ids)
    if negatives is not None and ground.labels is not None:
        arrays["rate"] = rates.counts(negatives.kept(ground.data), ground.data, ground.split, ground.labels)
    assert task.run is not None, "whoever measures has a run"
    scores.write_run(task.run)
    with replacing(task.place / VALUES) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)
    return {"means": {measure: scores.mean(measure) for measure in scores.measures}}


def _read_by(pipeline: Any, arm: Arm) -> dict[str, str]:
    return {name: model for name, model in arm.encoders.items() if name in pipeline.encoders()}


def _seconds_of_trainings(record: Mapping[str, Any], recipe: Recipe) -> float:
    students = {phase.name for phase in recipe.phases if phase.teach is None}
    return float(sum(phase["seconds"] for phase in record["phases"] if phase["name"] in students))


def _seconds_of_teachers(record: Mapping[str, Any], recipe: Recipe) -> float:
    teachers = {phase.name for phase in recipe.phases if phase.teach is not None}
    return float(sum(p.get("seconds", 0.0) for p in record.get("phases", ()) if p["name"] in teachers))


def _generations(run: Path) -> list[tuple[int, Path]]:
    from foils.train.generations import complete, folder_of

    return [(number, folder_of(run, number)) for number in complete(run)]


def _seconds_of_generations(run: Path) -> float:
    from foils.train.generations import figures_of

    runs = [run, *(run / "phases").glob("*")]
    return float(sum(figures_of(each, number)["seconds"] for each in runs for number, _ in _generations(each)))


def _last_negatives(run: Path, recipe: Recipe, mined: Negatives | None) -> Negatives | None:
    """What the student was trained on at last: the newest generation, else what the last phase that mines found."""
    phases = enumerate(recipe.phases, 1)
    students = [run / "phases" / f"{number}-{phase.name}" for number, phase in phases if phase.teach is None]
    for place in [run, *reversed(students)]:
        generations = _generations(place)
        if generations:
            return Negatives.open(generations[-1][1])
        if (place / "negatives" / MANIFEST).exists():
            return Negatives.open(place / "negatives")
    return mined


def _tidy(task: Task, model: Path, stored: set[Path], lasting: set[str]) -> None:
    """Remove what only this training needs: checkpoints, and vectors of models that are gone."""
    _forget(stored, lasting)
    if task.ground.keep_models:
        shutil.move(model, task.place / "model")
    shutil.rmtree(task.place / "run", ignore_errors=True)
    shutil.rmtree(task.place / "mined", ignore_errors=True)


def _stored() -> set[Path]:
    return set((cache_root() / "vectors").glob("*"))


def _forget(stored: set[Path], lasting: set[str]) -> None:
    """Remove vectors of models that nobody has any more."""
    for place in _stored() - stored:
        meta = place / "meta.json"
        if not meta.exists() or json.loads(meta.read_text(encoding="utf-8")).get("name") not in lasting:
            shutil.rmtree(place, ignore_errors=True)
