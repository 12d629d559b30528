"""`Watchman`: looks whether a run keeps the bounds of its guard, and ends its steps when it does not."""

from __future__ import annotations

import math
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from foils.train.guard.look import RECENT, Breach, look, looks
from foils.train.guard.turn import Breached
from foils.train.guard.values import Guard
from foils.train.processes import together


class Watchman(TrainerCallback):  # type: ignore[misc]
    """Raises `Breached` in all processes; the first one looks.

    Args:
        guard: the bounds.
        since: step from which on the run trains as it does now.
        trainer: knows loss and norm of the gradient.
    """

    def __init__(self, guard: Guard, since: int, trainer: Any) -> None:
        self.guard, self.since, self.trainer = guard, since, trainer

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Before the weights move: is there anything that would make them no numbers?"""
        if args.fp16:
            return  # the scaler of gradients skips such steps, and they are usual
        # All processes have the same gradient, and a loss that is no number makes none.
        figures = [float(self.trainer.norm)] + ([] if together() else [float(self.trainer.loss.last)])
        bad = [value for value in figures if not math.isfinite(value)]
        if bad:
            found = looks(state.log_history, self.since)
            sound = int(found[-RECENT]["step"]) if len(found) >= RECENT else self.since
            raise Breached(Breach("finite", state.global_step, bad[-1], math.inf, sound))

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Look at what has just been logged: figures of a step, dev measures, or those of a generation."""
        breach = look(self.guard, state.log_history, self.since) if state.is_world_process_zero else None
        if together():
            # Figures are of a process's own batch; that of the first one decides.
            flag = torch.tensor(int(breach is not None), device=args.device)
            torch.distributed.broadcast(flag, 0)
            if breach is None and flag:
                raise Breached(None)
        if breach is not None:
            raise Breached(breach)
