"""How many optimiser steps every training of a study has."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foils.core.collection import Collection
from foils.core.errors import DataError
from foils.core.packing import pack
from foils.follow import Job, follow
from foils.stages.context import Progress
from foils.train.dev import divide
from foils.train.options import TrainOptions

if TYPE_CHECKING:
    from foils.study.arms import Arm
    from foils.train.student import Student

_LONG_ENOUGH = 5.0  # seconds between two pilots, against the noise of one
_PILOTS = (10, 40, 160, 640, 2560)


def steps_of(
    budget: tuple[str, float], ground: Any, student: Student, pilot: Arm | None, folder: Path, tell: Progress
) -> int:
    """Steps of every training.

    A number of steps is taken as it is. The usual epochs are counted over the rows of in-batch training: one for each
    positive of the queries that are not held out. A time is divided by the seconds a step of the pilot's, measured as
    the difference of two short trainings; so arms whose steps are dearer take longer, by what the study then reports.

    Args:
        budget: what `foils.study.options.StudyOptions.amount` gives.
        ground: what all tasks share.
        student: the start model.
        pilot: the arm whose pace counts.
        folder: for pilots; removed.
        tell: progress.

    Raises:
        DataError: no query is left to train on.
    """
    kind, amount = budget
    if kind == "steps":
        return int(amount)
    if kind == "minutes":
        assert pilot is not None, "a time is the time of an arm"
        return max(1, int(60 * amount / _pace(ground, pilot, folder, tell)))
    options = TrainOptions.read(ground.train).resolved(student.kind, on_cpu=True, precision="float32")
    rows = _rows(ground.data, ground.split, options)
    if not rows:
        raise DataError(f"split {ground.split!r} of {ground.data.name!r} has no positive to train on.")
    return max(1, round(math.ceil(rows / (options.batch_size or 1)) * (options.epochs or 1)))


def each_phase(arm: Arm, steps: int) -> int:
    """Steps to ask for, so that all trainings of the student together have the study's.

    A phase takes its ``share`` of what is asked for: ``steps / Σ shares``.
    """
    shares = sum(phase.share for phase in arm.recipe.phases if phase.teach is None)
    return max(1, round(steps / shares))


def trained_steps(record: Mapping[str, Any]) -> int:
    """Steps of all trainings of the student that a run's record tells of."""
    phases = [phase["steps"] for phase in record.get("phases", ()) if "counts" in phase]
    return sum(phases) if phases else int(record["steps"])


def _rows(data: Collection, split: str, options: TrainOptions) -> int:
    stay, _, _ = divide(data, split, options, 0)
    known = data.positives(split)
    known = known.take(np.isin(known.query, stay))
    return len(np.unique(pack(known.query, data.same[known.doc])))


def _pace(ground: Any, pilot: Arm, folder: Path, tell: Progress) -> float:
    """Seconds a step, without what a training takes to begin and end."""
    taken: list[float] = []
    made: list[int] = []
    options = {**ground.train, **pilot.options, "dev_share": 0}
    for done, steps in enumerate(_PILOTS):
        tell("measuring the pace", done, len(_PILOTS))
        shutil.rmtree(folder, ignore_errors=True)
        begun = time.perf_counter()
        run = follow(
            pilot.recipe,
            ground.data,
            ground.model,
            out=folder,
            job=Job(ground.split, 0, pilot.encoders),
            options=TrainOptions.read({**options, "max_steps": each_phase(pilot, steps)}),
        )
        taken.append(time.perf_counter() - begun)
        made.append(trained_steps(run.run.record))
        if done and taken[-1] - taken[-2] >= _LONG_ENOUGH:
            break
    shutil.rmtree(folder, ignore_errors=True)
    tell("measuring the pace", len(_PILOTS), len(_PILOTS))
    return max(taken[-1] - taken[-2], 1e-3) / (made[-1] - made[-2])
