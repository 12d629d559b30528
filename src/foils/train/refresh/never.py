"""Why a run that was to mine again did not, or will not."""

from __future__ import annotations

import logging

from foils.train.job import Job
from foils.train.refresh.values import Alongside, Never
from foils.train.run import GENERATIONS, read_record

log = logging.getLogger(__name__)


def never_due(job: Job) -> str | None:
    """Why no step of a run is one at which it mines again, although it was to; None where there is one."""
    refresh = job.spec.refresh
    if isinstance(refresh, Never) or refresh.due(job.steps, job.updates_per_epoch):
        return None
    return (
        f"{refresh!r}: never due in {job.steps:,} steps, {job.updates_per_epoch:,} an epoch, so all of training uses "
        "the negatives that were mined before it. Train longer, or refresh by shares of the training: "
        "refresh: At(times=[0.25, 0.5, 0.75])."
    )


def never(job: Job) -> str | None:
    """The same of a run that has ended: it was never due, or what was mined alongside came too late."""
    said = never_due(job)
    if said is not None or not isinstance(job.spec.refresh, Alongside) or (read_record(job.out) or {}).get(GENERATIONS):
        return said
    said = (
        f"{job.spec.refresh!r}: no generation was ready before training ended, so all of it used the negatives that "
        "were mined before it. Mine less, train longer, or let training wait: refresh: Every(…)."
    )
    log.warning("%s", said)
    return said
