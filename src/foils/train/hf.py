"""Our parts of the Hugging Face training loop: trainer, schedule and dev evaluator.

Importing this module imports PyTorch and sentence-transformers; `foils.train.trainer` does so when a run begins.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
from sentence_transformers.base.evaluation import BaseEvaluator
from sentence_transformers.util import batch_to_device
from transformers import ProgressCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from foils.adapters import exact
from foils.adapters.protocols import Encoder, Kind
from foils.core.collection import Collection
from foils.train import checkpoints, generations
from foils.train.batches import Plan
from foils.train.curve import best_step, curve_of, exhausted
from foils.train.dev import DEPTH, METRIC, Dev, measures
from foils.train.feeding import Feeder
from foils.train.guard.turn import take_over
from foils.train.health import trend
from foils.train.student import Student

log = logging.getLogger(__name__)


def freeze_unused(student: Student) -> None:
    """Take out of training the weights that no vector depends on, such as a pooling head that is not used.

    They would not change anyway, but several processes wait for everybody's gradient of every weight.
    """
    model = student.model
    kinds: tuple[Kind, ...] = ("query", "document")
    features = [batch_to_device(student.features(["a text"], kind, None), model.device) for kind in kinds]
    total = sum(model(part)["sentence_embedding"].sum() for part in features)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    for weight, gradient in zip(weights, torch.autograd.grad(total, weights, allow_unused=True), strict=True):
        weight.requires_grad_(gradient is not None)


class FoilsTrainer(SentenceTransformerTrainer):  # type: ignore[misc]
    """sentence-transformers' trainer with our batches; ``plan`` and ``feeder`` must be set before it trains."""

    plan: Plan
    feeder: Feeder
    turned = False  # whether the checkpoint to begin with was written before the fallback took over
    forgets = False  # whether what the objective remembers there is of no use
    norm: Any = 0.0  # of the last gradient

    def get_batch_sampler(self, dataset: Any, *args: Any, **kwargs: Any) -> Plan:
        """The planned batches, whatever the arguments say."""
        return self.plan

    def collect_features(self, inputs: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """What `Objective` takes."""
        features, ids = self.feeder(inputs["row"].cpu().numpy(), watched=self.loss.watching)
        device = self.args.device
        return [batch_to_device(part, device) for part in features], batch_to_device(ids, device)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """With the loss goes what the objective has to report, under ``foils/``."""
        if "loss" in logs:
            figures = self.loss.report()
            figures |= trend(figures, self.state.log_history)
            logs = {**logs, **{f"foils/{name}": value for name, value in figures.items()}}
        super().log(logs, start_time)

    def _get_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
        self.norm = super()._get_grad_norm(*args, **kwargs)
        return self.norm

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None and self.turned:
            take_over(self.optimizer, self.lr_scheduler, Path(checkpoint), self.args.learning_rate)
        else:
            super()._load_optimizer_and_scheduler(checkpoint)

    def feed(self, rows: NDArray[np.int32], kind: Kind) -> dict[str, Any]:
        """Features of other rows of the collection, on the model's device."""
        features: dict[str, Any] = batch_to_device(self.feeder.features(rows, kind), self.args.device)
        return features

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """No generated model card: it would describe a table of row numbers, and asks the model hub on every save."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        # As the base class, without the model card (see above) and without pickled arguments (run.json has them).
        self.model.save_pretrained(output_dir or self.args.output_dir, create_model_card=False)

    def restore(self, checkpoint: Path) -> SentenceTransformer:
        """The model with the weights of a checkpoint."""
        self._load_from_checkpoint(str(checkpoint))
        return self.model


class DevEvaluator(BaseEvaluator):  # type: ignore[misc]
    """nDCG@10 and MRR@10 of the current weights on the dev queries, by exact search.

    Args:
        data: the collection.
        encoder: the current weights.
        dev: what is measured.
        docs: vectors of all documents where those stand; None to encode them each time.
    """

    def __init__(self, data: Collection, encoder: Encoder, dev: Dev, docs: NDArray[np.float32] | None = None) -> None:
        super().__init__()
        self.data, self.encoder, self.dev, self.docs = data, encoder, dev, docs

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """Encode, search, measure; see `foils.train.dev.measures`."""
        queries = self.encoder.encode(self.data.queries.texts(self.dev.queries), "query")
        if self.docs is None:
            docs = self.encoder.encode(self.data.corpus.texts(self.dev.docs), "document")
        else:
            docs = np.asarray(self.docs[self.dev.docs])
        found, _ = exact.search(queries, docs, DEPTH)
        rows = np.where(found >= 0, self.dev.docs[np.maximum(found, 0)], -1).astype(np.int32)
        return measures(rows, self.dev.relevant)


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


class Bar(ProgressCallback):  # type: ignore[misc]
    """The progress bar with the loss beside it; the original writes every log entry to standard output."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Show the loss, and the dev measures when there are new ones."""
        shown = {name: f"{value:.3f}" for name, value in (logs or {}).items() if name == "loss" or "@" in name}
        if state.is_world_process_zero and self.training_bar is not None and shown:
            self.training_bar.set_postfix(shown)


class Lines(TrainerCallback):  # type: ignore[misc]
    """Where there is no terminal for a bar, a line in the log now and then: steps, time left, what dev says."""

    def __init__(self, seconds: float = 15.0) -> None:
        self.seconds = seconds
        self._began = self._said = time.monotonic()
        self._first: int | None = None

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Log if it is time to."""
        now = time.monotonic()
        if self._first is None:
            # The first step of this process; a continued run does not begin at 0.
            self._first, self._began, self._said = state.global_step, now, now
        done = state.global_step - self._first
        if state.is_world_process_zero and done and now - self._said >= self.seconds:
            self._said = now
            left = round((now - self._began) * (state.max_steps - state.global_step) / done)
            curve = curve_of(state.log_history)
            dev = f"; dev {METRIC} {curve[-1][METRIC]:.3f}" if curve else ""
            text = "training: %s of %s steps, about %d:%02d left%s"
            log.info(text, f"{state.global_step:,}", f"{state.max_steps:,}", left // 60, left % 60, dev)


def wait() -> None:
    """Wait for all processes, if there are several."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
