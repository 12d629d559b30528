"""`Schedule`: when a run looks at dev, saves and stops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from foils.train import checkpoints, generations
from foils.train.batches import Plan
from foils.train.curve import best_step, curve_of, exhausted
from foils.train.processes import wait


class Told(checkpoints.Remembering, Protocol):
    """What `Schedule` asks of whatever computes the loss; see `Objective`."""

    number: int
    progress: float
    watching: bool

    def agree(self) -> None:
        """Before an optimiser step."""

    def follow(self) -> None:
        """After an optimiser step."""


@dataclass
class Schedule(TrainerCallback):  # type: ignore[misc]
    """When to look at dev, when to save, when to stop, and which checkpoints to keep: the best and the newest.

    Attributes:
        out: the run folder.
        plan: told the epoch before each one begins.
        objective: told the step before each one begins; what it remembers is saved with each checkpoint.
        updates_per_epoch: optimiser steps of an epoch.
        evaluate_every: steps between two looks at dev; None for no dev.
        save_every: steps between two checkpoints.
        patience: looks without improvement before it stops; None for never.
        keep: further checkpoints to keep, of the log.
    """

    out: Path
    plan: Plan
    objective: Told
    updates_per_epoch: int
    evaluate_every: int | None
    save_every: int
    patience: int | None
    keep: Callable[[Sequence[dict[str, Any]]], set[int]] = lambda history: set()

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Set the epoch from the step count: with several processes, a resumed data loader forgets to."""
        self.plan.set_epoch(state.global_step // self.updates_per_epoch)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Tell the objective where training is; schedules are pure functions of it."""
        self.objective.number, self.objective.progress = state.global_step, state.global_step / state.max_steps
        self.objective.watching = (state.global_step + 1) % state.logging_steps == 0

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Learnt numbers are in no wrapped model, whose gradients several processes average."""
        self.objective.agree()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """The last step is always looked at and saved."""
        self.objective.follow()
        last = state.global_step >= state.max_steps
        if self.evaluate_every is not None:
            control.should_evaluate = last or state.global_step % self.evaluate_every == 0
        if last or state.global_step % self.save_every == 0:
            control.should_save = True

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Save what is the best so far; stop when patience is at its end."""
        curve = curve_of(state.log_history)
        if state.global_step and best_step(curve) == state.global_step:
            control.should_save = True
        if exhausted(curve, self.patience):
            control.should_save = control.should_training_stop = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Mark the checkpoint as complete when every process has written its part; then remove older ones."""
        checkpoints.keep_memory(checkpoints.folder_of(self.out, state.global_step), self.objective, args.process_index)
        wait()
        if state.is_world_process_zero:
            checkpoints.mark(checkpoints.folder_of(self.out, state.global_step))
            kept = {state.global_step, best_step(curve_of(state.log_history)) or state.global_step}
            checkpoints.prune(self.out, {*kept, *generations.needed(self.out), *self.keep(state.log_history)})
