"""Going back after a breach: what is recorded, which checkpoints must stay for it, what is taken from one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from foils.train import checkpoints, generations
from foils.train.guard.look import RECENT, Breach, History, good_until, looks
from foils.train.guard.record import BREACHES
from foils.train.refresh.rollback import put_aside
from foils.train.run import RECORD, read_record

if TYPE_CHECKING:
    from foils.train.job import Job

_OPTIMIZER, _SCHEDULER = "optimizer.pt", "scheduler.pt"


class Breached(Exception):  # noqa: N818 - reads as what it is
    """Ends the steps of a run at once; nothing of the step it is raised in is saved.

    Attributes:
        breach: what was seen; None in the processes that do not look.
    """

    def __init__(self, breach: Breach | None) -> None:
        super().__init__(breach)
        self.breach = breach


def turn(job: Job, breach: Breach) -> dict[str, Any]:
    """Record a breach; with a fallback, put aside what is newer than the last good checkpoint.

    Both are written at once: whoever is killed before repeats the steps until the breach, whoever is killed after goes
    on with the fallback.

    Returns:
        What is in ``run.json`` under ``breaches``: what, step, value and bound; step of the checkpoint and generation
        of negatives that are good; the fallback that took over, or None.
    """
    record = read_record(job.out) or {}
    good = checkpoints.newest(job.out, until=breach.sound)
    fallback = job.spec.fallback
    entry: dict[str, Any] = {
        "step": breach.step,
        "what": breach.what,
        "value": breach.value if math.isfinite(breach.value) else str(breach.value),
        "bound": breach.bound if math.isfinite(breach.bound) else None,
        "back": 0 if good is None else checkpoints.step_of(good),
        "generation": generations.used_at(good),
        "fallback": None if fallback is None else fallback.text(),
    }
    known = [other for other in record.get(BREACHES, []) if (other["step"], other["fallback"]) != (breach.step, None)]
    record[BREACHES] = [*known, entry]
    if fallback is None:
        checkpoints.write_json(job.out / RECORD, record)
    else:
        put_aside(job.out, record, entry["generation"], entry["back"])
    return entry


def kept(out: Path, history: History) -> set[int]:
    """Checkpoints that a breach at one of the next looks could go back to."""
    steps = {good_until(history), *(int(entry["step"]) for entry in looks(history)[-RECENT:])}
    found = (checkpoints.newest(out, until=step) for step in steps)
    return {checkpoints.step_of(path) for path in found if path is not None}


def take_over(optimizer: Any, scheduler: Any, checkpoint: Path, rate: float) -> None:
    """Go on with the optimiser and the schedule of a checkpoint, at another peak learning rate.

    Another objective may have other numbers to learn; the optimiser then begins anew, its moments at 0.
    """
    saved = torch.load(checkpoint / _OPTIMIZER, map_location="cpu", weights_only=True)
    if _fits(saved, optimizer):
        optimizer.load_state_dict(saved)
    scheduler.load_state_dict(torch.load(checkpoint / _SCHEDULER, map_location="cpu", weights_only=True))
    inner = getattr(scheduler, "scheduler", scheduler)  # accelerate wraps it
    inner.base_lrs = [rate] * len(optimizer.param_groups)
    for group, factor in zip(optimizer.param_groups, inner.lr_lambdas, strict=True):
        group["initial_lr"] = rate
        group["lr"] = rate * factor(inner.last_epoch)
    inner._last_lr = [group["lr"] for group in optimizer.param_groups]


def _fits(saved: dict[str, Any], optimizer: Any) -> bool:
    there, here = saved["param_groups"], optimizer.param_groups
    if [len(group["params"]) for group in there] != [len(group["params"]) for group in here]:
        return False
    numbers = [number for group in there for number in group["params"]]
    weights = [weight for group in here for weight in group["params"]]
    moments = (saved["state"].get(number, {}).get("exp_avg") for number in numbers)
    return all(moment is None or moment.shape == weight.shape for moment, weight in zip(moments, weights, strict=True))
