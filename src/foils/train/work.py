"""`Work`: what every training run has, whatever kind of model it trains, and how long that makes it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from foils.train.batches import Plan
from foils.train.options import TrainOptions

_OFTEN = 500  # steps: what a kill costs at most; a quarter of an hour of a small transformer on two cores


@dataclass(frozen=True, eq=False)
class Work:
    """A run with everything settled, before the first step.

    Attributes:
        plan: the training rows and their batches.
        dev: what checkpoints are measured on, or None.
        options: with nothing left open.
        out: the run folder.
        notes: for the record only.
    """

    plan: Plan
    dev: Any
    options: TrainOptions
    out: Path
    notes: dict[str, Any]

    long: ClassVar[int] = _OFTEN  # steps: an epoch longer than this is looked at within

    @property
    def updates_per_epoch(self) -> int:
        """Optimiser steps of an epoch."""
        return math.ceil(len(self.plan) / self.plan.processes / self.options.gradient_accumulation)

    @property
    def steps(self) -> int:
        """Optimiser steps of the run."""
        return self.options.max_steps or max(1, round(self.updates_per_epoch * (self.options.epochs or 1)))

    @property
    def evaluate_every(self) -> int | None:
        """Steps between two looks at dev; None without dev."""
        return None if self.dev is None else self.options.evaluate_every or min(self.updates_per_epoch, self.long)

    @property
    def save_every(self) -> int:
        """Steps between two checkpoints."""
        return self.options.save_every or min(self.evaluate_every or self.updates_per_epoch, _OFTEN)

    def settings(self) -> dict[str, Any]:
        """What decides the resulting weights; a run is only continued with the same."""
        raise NotImplementedError

    def counts(self) -> dict[str, Any]:
        """Sizes, for the record."""
        dev = {} if self.dev is None else dict(self.dev.report)
        return {"train": dict(self.plan.rows.report), "dev": dev, "updates_per_epoch": self.updates_per_epoch}
